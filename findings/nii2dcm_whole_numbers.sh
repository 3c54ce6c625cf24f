#!/bin/sh
# What becomes of a susceptibility map in ppm, or a phase in radians, that nii2dcm turns into DICOM?
# Expected: stored as integers with a rescale slope and intercept that give the values back.
# Seen: the slope is 1, the fraction is cut off and what is below zero comes out near 65536. A map within ±0.2 ppm is zero
# everywhere; of a phase from -pi to pi remain 0, 1, 2, 3 and 65533, 65534, 65535. Exit 0, no warning.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==1.23.2 nibabel==5.0.0 nii2dcm==0.1.6
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import subprocess
from importlib.metadata import version
from pathlib import Path

import nibabel
import numpy as np
import pydicom

x = np.linspace(-1, 1, 24)
shape = x[:, None, None] * np.ones((1, 24, 1)) * np.linspace(0.5, 1, 10)


def through(name, values):
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), np.diag([-1, 1, 1, 1])), f"{name}.nii.gz")
    Path(name).mkdir()
    subprocess.run(["nii2dcm", f"{name}.nii.gz", name, "-d", "MR"], check=True, capture_output=True)
    slices = [pydicom.dcmread(file) for file in sorted(Path(name).rglob("*.dcm"))]
    assert len(slices) == 10
    return np.stack([s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices])


chi, phase = through("chi", 0.2 * shape), np.unique(through("phase", 3.1 * shape)).tolist()
print(f"nii2dcm {version('nii2dcm')}: a map from -0.2 to 0.2 comes out from {chi.min():g} to {chi.max():g}; "
      f"a phase from -3.1 to 3.1 has the values {phase}")
assert not chi.any() and phase == [0, 1, 2, 3, 65533, 65534, 65535]
PYTHON
