#!/bin/sh
# What do SimpleITK's DiscreteGaussian, Mean and SmoothingRecursiveGaussian make of a phase in 16-bit whole numbers?
# Expected: floating-point numbers, all alike, or else rounded ones. Seen: only the third gives them. The first two stay in whole
# numbers and cut: everything moves towards zero, by 0.5 on average in Mean, by 1.5 in DiscreteGaussian, which cuts after each axis.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 SimpleITK==2.5.7
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import numpy as np
import SimpleITK as sitk

values = np.random.default_rng(0).integers(-400, 401, (30, 30, 30)).astype(np.int16)
values[:, :, :15] -= 2000
values[:, :, 15:] += 2000
whole = sitk.GetImageFromArray(values)
exact = sitk.Cast(whole, sitk.sitkFloat32)
seen = {}
for name, smooth in (("DiscreteGaussian", lambda image: sitk.DiscreteGaussian(image, 1.0)),
                     ("Mean", lambda image: sitk.Mean(image, (1, 1, 1))),
                     ("SmoothingRecursiveGaussian", lambda image: sitk.SmoothingRecursiveGaussian(image, 1.0))):
    made, right = smooth(whole), sitk.GetArrayFromImage(smooth(exact))
    change = sitk.GetArrayFromImage(made) - right
    seen[name] = [made.GetPixelIDTypeAsString(), *(round(float(change[side].mean()), 2) for side in (right < -100, right > 100))]
print(f"SimpleITK {sitk.Version_VersionString()}: type, and mean error below and above zero: {seen}")
assert seen["SmoothingRecursiveGaussian"] == ["32-bit float", 0, 0]
for name, least in (("DiscreteGaussian", 0.7), ("Mean", 0.3)):
    assert seen[name][0] == "16-bit signed integer" and seen[name][1] > least and seen[name][2] < -least
PYTHON
