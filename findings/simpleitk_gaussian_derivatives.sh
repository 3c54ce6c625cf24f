#!/bin/sh
# What is the derivative of x along x by SimpleITK's RecursiveGaussian and DiscreteGaussianDerivative with order 1, in voxels of
# 0.5, 1 and 2 mm?
# Expected: 1 per mm, sigma being in mm and useImageSpacing on. Seen: both are per voxel, 0.5 and 2, and the second has the other
# sign: -0.47, -0.94 and -1.89. GradientRecursiveGaussian and Derivative are right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 SimpleITK==2.5.7
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import numpy as np
import SimpleITK as sitk

seen = {}
for spacing in (0.5, 1.0, 2.0):
    line = sitk.GetImageFromArray(np.tile((spacing * np.arange(40)).astype(np.float32), (9, 9, 1)))
    line.SetSpacing((spacing,) * 3)
    made = (sitk.RecursiveGaussian(line, 2 * spacing, False, 1, 0)[20, 4, 4],
            sitk.DiscreteGaussianDerivative(line, [spacing**2] * 3, [1, 0, 0])[20, 4, 4],
            sitk.GradientRecursiveGaussian(line, 2 * spacing)[20, 4, 4][0], sitk.Derivative(line, 0, 1)[20, 4, 4])
    seen[spacing] = [round(value, 3) for value in made]
print(f"SimpleITK {sitk.Version_VersionString()}: RecursiveGaussian, DiscreteGaussianDerivative, GradientRecursiveGaussian and "
      f"Derivative of x, by voxel size in mm: {seen}")
for spacing, (recursive, discrete, gradient, plain) in seen.items():
    assert np.allclose([recursive / spacing, gradient, plain], 1, atol=1e-3) and -1 < discrete / spacing < -0.9
PYTHON
