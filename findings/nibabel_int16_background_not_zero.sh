#!/bin/sh
# What is the background of a map, 0 outside the mask, after nibabel has saved it in 16-bit whole numbers?
# Expected: 0, as a slope alone would keep it. Seen: nibabel fits a slope and an intercept to the whole range, and no whole
# number stands for 0 any more: every voxel outside reads as 6e-6, and "!= 0" takes all of the volume for the mask.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 nibabel==5.4.2
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import nibabel
import numpy as np

rng = np.random.default_rng(0)
chi = np.zeros((20, 22, 18), np.float32)
chi[3:15, 3:15, 3:15] = rng.uniform(-0.3, 0.7, (12, 12, 12))
image = nibabel.Nifti1Image(chi, np.eye(4))
image.set_data_dtype(np.int16)
nibabel.save(image, "chi.nii.gz")
stored = nibabel.load("chi.nii.gz")
read = stored.get_fdata()
print(f"nibabel {version('nibabel')}: {np.count_nonzero(chi)} of {chi.size} voxels are not 0 before saving, "
      f"{np.count_nonzero(read)} after; slope {stored.dataobj.slope:.4g}, intercept {stored.dataobj.inter:.4g}, background "
      f"{np.unique(read[chi == 0])}")
assert np.allclose(read, chi, atol=2e-5) and read.all() and stored.dataobj.inter != 0
PYTHON
