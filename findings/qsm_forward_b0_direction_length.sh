#!/bin/sh
# Does qsm_forward.generate_field take B0_dir as a direction, whatever its length?
# Expected: (0, 0, 2) gives the field of (0, 0, 1). Seen: another field, several times as large.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 qsm-forward==0.32
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from qsm_forward import generate_field

chi = np.zeros((40, 40, 40))
chi[18:22, 18:22, 18:22] = 1.0
unit, doubled, reversed_ = (np.asarray(generate_field(chi, B0_dir=[0, 0, z])) for z in (1, 2, -1))
print(f"qsm-forward {version('qsm-forward')}: largest field {np.abs(unit).max():.3f}; "
      f"with (0, 0, 2) {np.abs(doubled).max():.3f}; difference with (0, 0, -1) {np.abs(unit - reversed_).max():.3f}")
assert np.abs(unit - reversed_).max() < 1e-12 and np.abs(doubled).max() > 2 * np.abs(unit).max()
PYTHON
