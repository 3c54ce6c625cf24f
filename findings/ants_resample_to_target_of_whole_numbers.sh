#!/bin/sh
# What is an 8-bit mask after ants.resample_image_to_target, onto its own grid?
# Expected: the mask, with any interpolation. Seen: all zero, and a 32-bit mask has 1065353216 in it, the bits of 1.0 read as a
# whole number. As float32 it is the mask, and with apply_transforms too.
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

mask = np.zeros((20, 20, 20), np.uint8)
mask[5:10, 5:10, 5:10] = 1
grid = ants.from_numpy(np.zeros(mask.shape, np.float32))
seen = {}
for kind in (np.uint8, np.uint32, np.float32):
    image = ants.from_numpy(mask.astype(kind))
    for method in ("nearestNeighbor", "linear"):
        values = ants.resample_image_to_target(image, grid, interp_type=method).numpy()
        seen[kind.__name__, method] = [round(float(value)) for value in (values.max(), (values > 0).sum())]
    assert np.allclose(ants.apply_transforms(grid, image, [], interpolator="nearestNeighbor").numpy(), mask)
print(f"antspyx {version('antspyx')}, a mask of {mask.sum()} voxels: largest value and voxels above 0 by type and method: {seen}")
for method in ("nearestNeighbor", "linear"):
    assert seen["float32", method] == [1, 125] and seen["uint8", method] == [0, 0] and seen["uint32", method][0] == 1065353216
PYTHON
