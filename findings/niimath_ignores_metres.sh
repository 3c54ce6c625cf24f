#!/bin/sh
# Does niimath convert the header's unit of length when it smooths by a width in millimetres?
# Expected: a file in metres (xyzt_units 1, pixdim 0.001) is smoothed like the same file in millimetres.
# Seen: 0.001 is taken as millimetres: a width of 1.3 mm becomes 1300 voxels and all structure is gone, exit 0.
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

data = np.random.default_rng(0).random((20, 20, 20), np.float32)
spread = {}
for unit, edge in (("mm", 1.0), ("meter", 1e-3)):
    image = nibabel.Nifti1Image(data, np.diag([edge, edge, edge, 1]))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, f"{unit}.nii.gz")
    subprocess.run(["niimath", f"{unit}.nii.gz", "-s", "1.3", f"{unit}_smooth.nii.gz"], check=True)
    spread[unit] = float(nibabel.load(f"{unit}_smooth.nii.gz").get_fdata().std())
print(f"niimath {version('niimath')}: standard deviation after smoothing: {spread}")
assert spread["mm"] > 0.03 and spread["meter"] < 1e-5
PYTHON
