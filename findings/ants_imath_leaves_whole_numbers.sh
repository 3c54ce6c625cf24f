#!/bin/sh
# What does ants.iMath make of an 8-bit mask: dilation MD, erosion ME, closing MC, opening MO?
# Expected: what it makes of the same mask as float32. Seen: the mask as it was, without a word, whatever the operation; so of
# any image made from a numpy array of whole numbers or of true and false.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 antspyx==0.6.3
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import ants
import numpy as np

mask = np.zeros((30, 30, 30), bool)
mask[8:20, 8:20, 8:20] = True
mask[12:15, 12:15, 12:15] = False
mask[20, 14, 14] = True
seen = {}
for operation in ("MD", "ME", "MC", "MO"):
    seen[operation] = [int(ants.iMath(ants.from_numpy(mask.astype(kind)), operation, 2).numpy().astype(bool).sum())
                       for kind in (np.float32, np.uint8, bool)]
print(f"antspyx {version('antspyx')}, a mask of {mask.sum()} voxels: voxels after it, of float32, uint8 and bool: {seen}")
assert all(made != mask.sum() and whole == truth == mask.sum() for made, whole, truth in seen.values())
PYTHON
