#!/bin/sh
# What does niimath's ROMEO do with a smooth phase within ±0.9 rad (nothing to unwrap)?
# Expected: it comes out unchanged. Seen: stretched to -pi to pi, 3.9 times too large, exit 0; a phase already unwrapped
# to -10 to 13 rad is squeezed into -pi to pi. With -no-phase-rescale the small phase is left alone.
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

x = np.linspace(-1, 1, 32, dtype=np.float32)
phase = x[:, None, None] + 0.3 * x[None, None, :] ** 2 + 0 * x[None, :, None]
nibabel.save(nibabel.Nifti1Image(np.full(phase.shape, 100, np.float32), np.eye(4)), "magnitude.nii.gz")


def slope(values, *options):
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), np.eye(4)), "phase.nii.gz")
    subprocess.run(["niimath", "phase.nii.gz", "-romeo", "magnitude.nii.gz", *options, "out.nii.gz"], check=True)
    return float(np.polyfit(values.ravel(), nibabel.load("out.nii.gz").get_fdata().ravel(), 1)[0])


small, unwrapped, asked = slope(0.7 * phase), slope(10 * phase), slope(0.7 * phase, "-no-phase-rescale")
print(f"niimath {version('niimath')}: output over input: small phase {small:.2f}, unwrapped phase {unwrapped:.2f}, "
      f"small phase with -no-phase-rescale {asked:.2f}")
assert abs(small - 3.90) < 0.01 and abs(unwrapped - 0.273) < 0.001 and abs(asked - 1) < 1e-5
PYTHON
