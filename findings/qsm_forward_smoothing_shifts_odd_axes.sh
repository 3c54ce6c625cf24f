#!/bin/sh
# Where is a single voxel after qsm_forward.smooth3d_fft?
# Expected: in the middle of what it became. Seen: along an axis of odd length half a voxel further; along one of even length
# in place.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 qsm-forward==0.32
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from qsm_forward import smooth3d_fft

volume = np.zeros((20, 21, 23))
volume[10, 10, 11] = 1
smooth = smooth3d_fft(volume, 3.0)
middle = [round(float((index * smooth).sum() / smooth.sum()), 3) for index in np.indices(volume.shape)]
print(f"qsm-forward {version('qsm-forward')}: in a volume of 20 x 21 x 23 a voxel at (10, 10, 11) is smoothed to one round {middle}")
assert np.allclose(middle, [10, 10.5, 11.5], atol=1e-3)
PYTHON
