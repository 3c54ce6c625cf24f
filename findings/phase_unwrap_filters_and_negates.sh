#!/bin/sh
# What does unwrap-phase of the package phase-unwrap give for a phase that a Laplacian unwraps without error?
# Expected: the true phase up to a constant, or up to a smooth background. Seen: each slice is high-pass filtered and comes
# out with the opposite sign: of a smooth field nothing is left, and a spot of positive phase is negative. Exit 0.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 nibabel==5.4.2 phase-unwrap==2.0.0
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import subprocess
from importlib.metadata import version

import nibabel
import numpy as np

x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in (128, 128, 6)], indexing="ij")
smooth = 8 * np.exp(-2 * (x**2 + y**2))
spot = np.exp(-((x - 0.3) ** 2 + y**2) / 0.03**2)


def unwrapped(name, phase):
    wrapped = np.angle(np.exp(1j * phase)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(wrapped, np.eye(4)), f"{name}.nii.gz")
    subprocess.run(["unwrap-phase", f"{name}.nii.gz", "-o", f"{name}_out.nii.gz"], check=True, capture_output=True)
    return nibabel.load(f"{name}_out.nii.gz").get_fdata()


field, both = unwrapped("field", smooth), unwrapped("both", smooth + spot)
at = np.unravel_index(spot.argmax(), spot.shape)
print(f"phase-unwrap {version('phase-unwrap')}: of a smooth field from {smooth.min():.1f} to {smooth.max():.1f} rad comes "
      f"{field.min():.2f} to {field.max():.2f}; of a spot of {spot.max():+.2f} rad in it {(both - field)[at]:+.2f}")
assert np.abs(field).max() < 0.4 and -1 < (both - field)[at] < -0.5
PYTHON
