#!/bin/sh
# What does nibabel's resample_from_to change in an oblique image that it resamples to the image's own grid?
# Expected: nothing, nearest neighbour and linear. Seen: whole layers at the faces become zero: rounding puts their
# coordinates a 1e-15 outside, and outside is zero. Which faces depends on the angle; an image along the axes stays whole.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 scipy==1.17.1 nibabel==5.4.2
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import nibabel
import numpy as np
from nibabel.processing import resample_from_to

lost = {}
for degrees in range(0, 41, 5):
    turn = np.deg2rad(degrees)
    affine = np.diag([1.0, 1, 2, 1])
    affine[1:3, 1:3] = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([1, 2])
    affine[:3, 3] = -31.3, 17.9, -40.7
    image = nibabel.Nifti1Image(np.ones((20, 20, 12), np.float32), affine)
    lost[degrees] = [int((resample_from_to(image, image, order=order).get_fdata() == 0).sum()) for order in (0, 1)]
print(f"nibabel {version('nibabel')}: voxels of 4800 that become zero (nearest, linear) by tilt in degrees: {lost}")
assert lost[0] == [0, 0] and sum(min(n) >= 240 for n in lost.values()) >= 5
PYTHON
