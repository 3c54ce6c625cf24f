#!/bin/sh
# Do the scores of QSM-CI's scorer all disregard a constant added to a map, as its NRMSE does?
# Expected: yes, as susceptibility has no zero point of its own. Seen: for a perfect map plus 0.05 ppm NRMSE is 0, while
# XSIM falls below a half and HFEN rises above 5 %.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 qsm-ci==0.6.2
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from qsm_ci.qsm_eval import score_arrays

x, y, z = np.meshgrid(*[np.linspace(-1, 1, 48)] * 3, indexing="ij")
mask = x**2 + y**2 + z**2 < 0.8
truth = np.where(mask, 0.03 * np.sin(9 * x) * np.cos(7 * y) + 0.1 * (np.hypot(x - 0.3, y) < 0.15), 0)
shifted = score_arrays(np.where(mask, truth + 0.05, 0), truth, mask)[0]
perfect = score_arrays(truth, truth, mask)[0]
print(f"qsm-ci {version('qsm-ci')}: " + ", ".join(
    f"{name} {perfect[name]:.3f} -> {shifted[name]:.3f}" for name in ("nrmse", "xsim", "hfen")))
assert shifted["nrmse"] < 1e-6 and perfect["xsim"] > 0.999 and shifted["xsim"] < 0.5 and shifted["hfen"] > 5
PYTHON
