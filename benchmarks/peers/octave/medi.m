% MEDI_L1 of the MEDI toolbox on the local field of input.mat; writes output.mat (chi in ppm).
given = load('input.mat');
RDF = given.phase;
iFreq = given.phase;
iFreq_raw = given.phase;
iMag = given.magnitude;
Mask = given.mask > 0;
N_std = zeros(size(RDF));  % of the phase, up to a factor: the inverse of the magnitude
N_std(Mask) = 1 ./ max(iMag(Mask), 1e-3);
matrix_size = size(RDF);
voxel_size = given.voxel_size(:)';
delta_TE = given.te;
CF = given.frequency;
B0_dir = given.b0_direction(:)';
save('-v7', 'RDF.mat', 'RDF', 'iFreq', 'iFreq_raw', 'iMag', 'N_std', 'Mask', 'matrix_size', 'voxel_size', ...
     'delta_TE', 'CF', 'B0_dir');
chi = MEDI_L1('filename', 'RDF.mat', 'lambda', given.settings.lambda, 'percentage', given.settings.percentage);
chi = single(chi .* Mask);
save('-v7', 'output.mat', 'chi');
