#!/bin/sh
# How far do c3d -erode, -dilate and -pad with 4x4x4mm go, in voxels of 2 mm and of 1 x 1 x 2 mm?
# Expected: 4 mm, two voxels where a voxel is 2 mm, as -smooth and -trim read such a size. Seen: four voxels along every
# axis: the unit is accepted and not heeded, 4x4x4mm is 4x4x4vox.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 nibabel==5.4.2 picsl-c3d==1.4.6.0
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import nibabel
import numpy as np
from picsl_c3d import Convert3D

mask = np.zeros((40, 40, 40), np.float32)
mask[8:32, 8:32, 8:32] = 1
seen = {}
for sizes in ((2, 2, 2), (1, 1, 2)):
    nibabel.save(nibabel.Nifti1Image(mask, np.diag([*sizes, 1.0])), "mask.nii.gz")
    for operation in ("erode", "dilate"):
        for radius in ("4x4x4mm", "4x4x4vox"):
            Convert3D().execute(f"mask.nii.gz -{operation} 1 {radius} -o out.nii.gz")
            inside = nibabel.load("out.nii.gz").get_fdata() == 1
            seen[sizes, operation, radius] = [int(line.sum()) for line in (inside[:, 20, 20], inside[20, 20])]
for margin in ("4x4x4mm", "4x4x4vox"):
    Convert3D().execute(f"mask.nii.gz -pad {margin} {margin} 0 -o out.nii.gz")
    seen["pad", margin] = list(nibabel.load("out.nii.gz").shape)
padded = seen.pop(("pad", "4x4x4mm")), seen.pop(("pad", "4x4x4vox"))
print(f"picsl-c3d {version('picsl-c3d')}, a cube of 24 voxels: width along the first and the last axis, by voxel size: {seen}; "
      f"40 voxels of 1 x 1 x 2 mm padded by 4 mm and by 4 voxels: {padded}")
assert padded == ([48, 48, 48], [48, 48, 48])
assert all(widths == ([16, 16] if operation == "erode" else [32, 32]) for (_, operation, _), widths in seen.items())
PYTHON
