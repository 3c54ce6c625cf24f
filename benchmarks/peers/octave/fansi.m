% FANSI's nlTV on the local field of input.mat; writes output.mat (chi in ppm).
% The toolbox is called as its own examples call it: phase in rad, weight from the magnitude.
given = load('input.mat');
params.input = given.phase;
params.K = given.kernel;
params.N = size(given.phase);
params.weight = given.magnitude .* given.mask;
params.alpha1 = given.settings.alpha1;
params.mu1 = given.settings.mu1;
params.mu2 = given.settings.mu2;
params.maxOuterIter = given.settings.iterations;
params.tol_update = given.settings.tolerance;
params.voxelSize = given.voxel_size(:)';
found = nlTV(params);
chi = single(real(found.x) / given.rad_per_ppm .* given.mask);
save('-v7', 'output.mat', 'chi');
