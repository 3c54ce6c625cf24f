#!/bin/sh
# What do niimath's -dilate and -erode with threshold 0.5 and distance 3 make of a mask of 0 and 1, voxels of 1 mm?
# Expected: masks of 0 and 1, three layers larger and three smaller. Seen: the three layers added have the threshold's value,
# 0.5, so that "> 0.5", a whole-number copy and the sum all miss them; the erosion takes two layers.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 nibabel==5.4.2 niimath==1.0.20261016
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import subprocess
from importlib.metadata import version

import nibabel
import numpy as np

mask = np.zeros((24, 24, 24), np.float32)
mask[8:16, 8:16, 8:16] = 1
nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), "mask.nii.gz")


def line(*operation):
    """The values along a line through the middle of the mask."""
    subprocess.run(["niimath", "mask.nii.gz", *operation, "out.nii.gz"], check=True, capture_output=True)
    return nibabel.load("out.nii.gz").get_fdata()[12, 12].tolist()


dilated, eroded = line("-dilate", "0.5", "3"), line("-erode", "0.5", "3")
print(f"niimath {version('niimath')}, of 8 voxels: dilated {[v for v in dilated if v]}, eroded {[v for v in eroded if v]}")
assert dilated == [0] * 5 + [0.5] * 3 + [1] * 8 + [0.5] * 3 + [0] * 5 and eroded == [0] * 10 + [1] * 4 + [0] * 10
PYTHON
