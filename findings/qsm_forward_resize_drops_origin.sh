#!/bin/sh
# What does qsm_forward.resize(nii, [2, 2, 2]) keep of a volume of 1 mm voxels whose origin is in its middle, as is usual?
# Expected: all of it, in place. Seen: the new grid begins at 0 mm, whatever the origin: an eighth of the volume is left and
# the rest of the grid is zero. A volume that begins at 0 mm is resized as a whole.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 nibabel==5.4.2 qsm-forward==0.32
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import nibabel
import numpy as np
from qsm_forward import resize

chi = 0.1 + 0.01 * np.random.default_rng(0).random((24, 24, 24))
kept = {}
for origin in (0, -12):
    affine = np.eye(4)
    affine[:3, 3] = origin
    resized = resize(nibabel.Nifti1Image(chi, affine), [2, 2, 2])
    kept[origin] = resized.shape, resized.affine[:3, 3].tolist(), round(float((resized.get_fdata() > 0.05).mean()), 3)
print(f"qsm-forward {version('qsm-forward')}: shape, origin and share that is not zero, by origin before: {kept}")
assert kept[0][2] == 1 and kept[-12] == ((12, 12, 12), [0, 0, 0], 0.125)
PYTHON
