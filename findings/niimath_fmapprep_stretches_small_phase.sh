#!/bin/sh
# Which field does niimath -fmapprep make of a phase difference in radians that does not fill a turn?
# Expected: phase over echo time difference, in rad/s. Seen: the phase is stretched to a full turn first, as a phase of 0 to
# 4095 would be: a gradient of 60 Hz becomes one of 100 Hz. It has no option against that, as -romeo has.
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

shape, difference = (40, 44, 36), 5e-3
x, y, z = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
brain = x**2 + y**2 + z**2 < 0.8
field = 60 * x
for name, values in (("phase", 2 * np.pi * difference * field), ("magnitude", 1000 * brain)):
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), np.eye(4)), f"{name}.nii.gz")
subprocess.run(["niimath", "phase.nii.gz", "-fmapprep", "magnitude.nii.gz", "5", "out.nii.gz"], check=True, capture_output=True)
made = nibabel.load("out.nii.gz").get_fdata() / (2 * np.pi)
slope = np.polyfit(field[brain], made[brain], 1)[0]
turn = np.ptp(field) * difference
print(f"niimath {version('niimath')}: phase differences over {turn:.2f} of a turn; field made over field given {slope:.3f}, "
      f"one over {turn:.2f} is {1 / turn:.3f}")
assert np.isclose(slope, 1 / turn, atol=0.01) and slope > 1.5
PYTHON
