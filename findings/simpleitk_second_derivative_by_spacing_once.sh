#!/bin/sh
# What is the second derivative of x^2 / 2 by SimpleITK's Derivative with order 2, in voxels of 0.5, 1 and 2 mm?
# Expected: 1 per mm2, as of its Laplacian, with useImageSpacing on. Seen: 0.5, 1 and 2: it is divided by the voxel size once,
# not twice, and the sum of the three along the axes is no Laplacian. The first derivative is right.
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
    x = spacing * np.arange(40)
    parabola, line = (sitk.GetImageFromArray(np.tile(values.astype(np.float32), (9, 9, 1))) for values in (x**2 / 2, x))
    for image in (parabola, line):
        image.SetSpacing((spacing,) * 3)
    made = sitk.Derivative(parabola, 0, 2), sitk.Laplacian(parabola), sitk.Derivative(line, 0, 1)
    seen[spacing] = [round(image[20, 4, 4], 4) for image in made]
print(f"SimpleITK {sitk.Version_VersionString()}: second derivative, Laplacian, and first derivative of x, all 1, by voxel size in "
      f"mm: {seen}")
assert seen == {spacing: [spacing, 1, 1] for spacing in (0.5, 1.0, 2.0)}
PYTHON
