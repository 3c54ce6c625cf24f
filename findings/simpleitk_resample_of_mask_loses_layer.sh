#!/bin/sh
# How wide is a mask of 8-bit whole numbers, 5 voxels across, after SimpleITK's Resample with linear interpolation, moved by
# less than a voxel?
# Expected: 5 voxels, as values between are rounded. Seen: 4, for every shift: values are cut to whole numbers, so what is not
# wholly inside is out; of a phase in whole numbers every value moves towards zero. As float, with 0.5 as threshold, it is 5.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 SimpleITK==2.5.7
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import numpy as np
import SimpleITK as sitk

values = np.zeros((20, 20, 20), np.uint8)
values[5:10, 5:10, 5:10] = 1
mask = sitk.GetImageFromArray(values)
wide = {}
for shift in (0.1, 0.4, 0.6, 0.9):
    by = sitk.TranslationTransform(3, (shift, 0, 0))
    cut = sitk.GetArrayFromImage(sitk.Resample(mask, mask, by, sitk.sitkLinear))
    exact = sitk.GetArrayFromImage(sitk.Resample(sitk.Cast(mask, sitk.sitkFloat32), mask, by, sitk.sitkLinear)) > 0.5
    wide[shift] = [int(line[7, 7].sum()) for line in (cut, exact)]
ramp = np.tile(np.arange(-10, 10, dtype=np.int16), (8, 8, 1))
phase = sitk.GetImageFromArray(ramp)
moved = sitk.GetArrayFromImage(sitk.Resample(phase, phase, sitk.TranslationTransform(3, (0.9, 0, 0)), sitk.sitkLinear))[4, 4]
print(f"SimpleITK {sitk.Version_VersionString()}: width of a mask of 5 voxels by shift, of whole numbers and by float: {wide}; "
      f"-10 ... 9, moved by 0.9: {moved[:-1].tolist()}")
assert all(value == [4, 5] for value in wide.values())
assert moved[0] == -9 and moved[15] == 5 and (np.abs(moved[:-1]) <= np.abs(ramp[4, 4, :-1] + 0.9)).all()
PYTHON
