#!/bin/sh
# What does nibabel's smooth_image make of an 8-bit mask and of a phase in 16-bit whole numbers without a slope?
# Expected: fractions, as of the same image in float. Seen: the result stays in whole numbers, cut after each axis: half a
# random mask is zero everywhere, a cube of 14 voxels becomes one of 4, and a phase moves towards zero by 1.5.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 scipy==1.17.1 nibabel==5.4.2
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import nibabel
import numpy as np
from nibabel.processing import smooth_image


def smoothed(values):
    return smooth_image(nibabel.Nifti1Image(values, np.eye(4)), 3.0).get_fdata()


rng = np.random.default_rng(0)
half = (rng.random((30, 30, 30)) > 0.5).astype(np.uint8)
cube = np.zeros((30, 30, 30), np.uint8)
cube[8:22, 8:22, 8:22] = 1
phase = rng.integers(-400, 401, (30, 30, 30)).astype(np.int16)
phase[:15] -= 2000
phase[15:] += 2000
exact = smoothed(phase.astype(np.float32))
change = smoothed(phase) - exact
shift = [round(float(change[side].mean()), 2) for side in (exact < -100, exact > 100)]
sums = {name: [float(smoothed(mask).sum()), round(float(smoothed(mask.astype(np.float32)).sum()))]
        for name, mask in (("half", half), ("cube", cube))}
print(f"nibabel {version('nibabel')}: sums of the smoothed masks, as uint8 and as float32: {sums}; mean change of a phase below "
      f"and above zero: {shift}")
assert sums["half"][0] == 0 and sums["half"][1] > 13000 and sums["cube"][0] < 0.5 * sums["cube"][1]
assert shift[0] > 1 and shift[1] < -1
PYTHON
