#!/bin/sh
# How large is an 8-bit mask, a cube of 28 mm, after fslpy's resampleToPixdims from voxels of 2 mm to voxels of 4 mm?
# Expected: 28 mm, at most a layer less. Seen: 16 mm: it smooths before, in the mask's whole numbers, and cuts; of a mask that
# is half full at random nothing is left. As float with 0.5 as threshold, or with smooth=False, it is 28 mm.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 nibabel==5.4.2 fslpy==3.29.1
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import nibabel
import numpy as np
from fsl.data.image import Image
from fsl.utils.image.resample import resampleToPixdims


def resampled(values, **options):
    image = Image(nibabel.Nifti1Image(values, np.diag([2, 2, 2, 1.0])))
    return resampleToPixdims(image, (4, 4, 4), **options)[0]


cube = np.zeros((30, 30, 30), np.uint8)
cube[8:22, 8:22, 8:22] = 1
half = (np.random.default_rng(0).random((30, 30, 30)) > 0.5).astype(np.uint8)
width = {name: 4 * int((values[:, 7, 7] > 0.5).sum()) for name, values in (
    ("uint8", resampled(cube)), ("float32", resampled(cube.astype(np.float32))), ("without", resampled(cube, smooth=False)))}
print(f"fslpy {version('fslpy')}: width of the cube in mm, as uint8, float32, and uint8 with smooth=False: {width}; sum of half a "
      f"random mask {resampled(half).sum()}")
assert width["uint8"] == 16 and width["float32"] == 28 and width["without"] == 28 and not resampled(half).any()
PYTHON
