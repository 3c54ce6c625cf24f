#!/bin/sh
# How many layers does fastmorph.spherical_erode take off a mask, and are closing and opening by it of the size of the mask?
# Expected: as many as spherical_dilate adds, radius 1 one, 2 two ("inclusive range"); opening never adds a voxel. Seen: a
# whole radius erodes a layer less, 1 none at all; opening and closing make a cube of 20 voxels one of 22. A radius of 1.5 is right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 fastmorph==1.10.0
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import fastmorph
import numpy as np

mask = np.zeros((40, 40, 40), bool)
mask[10:30, 10:30, 10:30] = True
names = ("spherical_dilate", "spherical_erode", "spherical_open", "spherical_close")
seen = {radius: [int(getattr(fastmorph, name)(mask, radius=radius)[:, 20, 20].sum()) for name in names]
        for radius in (1, 1.5, 2, 3)}
more = int(fastmorph.spherical_open(mask, radius=2).sum() - mask.sum())
print(f"fastmorph {version('fastmorph')}: a cube of 20 voxels across, by radius, after {', '.join(names)}: {seen}; an opening by "
      f"2 voxels adds {more} voxels")
assert seen == {1: [22, 20, 22, 22], 1.5: [22, 18, 20, 20], 2: [24, 18, 22, 22], 3: [26, 16, 22, 22]} and more > 1000
PYTHON
