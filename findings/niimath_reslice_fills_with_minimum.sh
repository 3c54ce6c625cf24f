#!/bin/sh
# What is outside the field of view of a map after niimath -reslice to a larger grid?
# Expected: 0. Seen: the smallest value of the map, also in the map's last layer along each axis: round a map from -0.2 to
# 0.2 ppm all is -0.2, and round a positive map its smallest value.
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

chi = np.random.default_rng(0).uniform(-0.2, 0.2, (12, 12, 12)).astype(np.float32)
nibabel.save(nibabel.Nifti1Image(np.zeros((20, 20, 20), np.float32), np.eye(4)), "grid.nii.gz")
outside = {}
for name, values in (("map", chi), ("map with a margin of zeros", np.pad(chi[1:-1, 1:-1, 1:-1], 1)), ("map plus 1", chi + 1)):
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), "map.nii.gz")
    subprocess.run(["niimath", "map.nii.gz", "-reslice", "grid.nii.gz", "out.nii.gz"], check=True, capture_output=True)
    resliced = nibabel.load("out.nii.gz").get_fdata()
    assert np.allclose(resliced[:11, :11, :11], values[:11, :11, :11], atol=1e-6)
    assert np.allclose(resliced[11:], values.min(), atol=1e-6) and np.allclose(resliced[..., 11:], values.min(), atol=1e-6)
    outside[name] = sorted({round(float(value), 4) for value in resliced[11:].ravel()})
print(f"niimath {version('niimath')}: values from the map's last layer on: {outside}")
PYTHON
