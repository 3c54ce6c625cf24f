#!/bin/sh
# What is ants.iMath(mask, "GetLargestComponent") of a small mask, such as a nucleus of 27 voxels?
# Expected: the mask, or, as parts of less than 50 voxels are left out by default, nothing. Seen: all of the volume is 1. With
# the least size 1 as third argument it is the mask.
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

volume = np.zeros((20, 20, 20), np.float32)
volume[8:11, 8:11, 8:11] = 1
mask = ants.from_numpy(volume)
plain = ants.iMath(mask, "GetLargestComponent").numpy()
every_size = ants.iMath(mask, "GetLargestComponent", 1).numpy()
print(f"antspyx {version('antspyx')}: of {volume.sum():.0f} voxels in {volume.size}: {plain.sum():.0f}, with size 1 "
      f"{every_size.sum():.0f}")
assert (plain == 1).all() and (every_size == volume).all()
PYTHON
