#!/bin/sh
# Is an image where it was, by its own header, after SimpleITK's Shrink?
# Expected: yes: voxels are picked, and the origin is that of the first one picked. Seen: for a factor of 2 on a line of 24, of 3
# on one of 25, every value is half a voxel beside its place; on a line of 25 by 2 it is right. BinShrink is right always.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 SimpleITK==2.5.7
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import numpy as np
import SimpleITK as sitk

seen = {}
for size in (24, 25):
    for factor in (2, 3, 4):
        ramp = sitk.GetImageFromArray(np.tile(np.arange(size, dtype=np.float32), (8, 8, 1)))
        beside = []
        for small in (sitk.Shrink(ramp, (factor, 1, 1)), sitk.BinShrink(ramp, (factor, 1, 1))):
            values = sitk.GetArrayFromImage(small)[0, 0]
            places = small.GetOrigin()[0] + small.GetSpacing()[0] * np.arange(len(values))
            beside.append(np.unique((values - places).round(4)).tolist())
        seen[size, factor] = beside
print(f"SimpleITK {sitk.Version_VersionString()}, a ramp that has its place as value: value less place in voxels by size and "
      f"factor, for Shrink and BinShrink: {seen}")
half = {key for key, (shrunk, binned) in seen.items() if shrunk == [0.5]}
assert half == {(24, 2), (24, 4), (25, 3)} and all(binned == [0] for shrunk, binned in seen.values())
PYTHON
