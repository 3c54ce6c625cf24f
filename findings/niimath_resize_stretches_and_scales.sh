#!/bin/sh
# What does niimath -resize with a factor of 0.6 do to a mask, and to the place of a nucleus, where the size is 25?
# Expected: a coarser mask of 0 and 1, and the nucleus where it was. Seen: with nearest neighbours the mask has values from
# 0.26 to 2.1, with linear ones from 0.8 to 1.3; and as 25 x 0.6 is no whole number, but the voxel size is written as if it
# were, the nucleus is 0.3 to 1.1 mm beside. With factor 2 both are right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 nibabel==5.4.2 niimath==1.0.20261016
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import subprocess
from importlib.metadata import version

import nibabel
import numpy as np

shape = (25, 25, 25)


def resized(values, factor, method):
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), np.eye(4)), "in.nii.gz")
    factors = [str(factor)] * 3
    subprocess.run(["niimath", "in.nii.gz", "-resize", *factors, str(method), "out.nii.gz"], check=True, capture_output=True)
    image = nibabel.load("out.nii.gz")
    return image.get_fdata(), image.affine


def shift(place, factor):
    """How far a nucleus moves along the first axis, in mm by the header; linear interpolation."""
    nucleus = np.exp(-sum((index - place) ** 2 for index in np.indices(shape)) / 12)
    values, affine = resized(nucleus, factor, 1)
    middle = [(values * index).sum() / values.sum() for index in np.indices(values.shape)]
    return round(float(affine[0] @ [*middle, 1] - place), 2)


masks = {method: resized(np.ones(shape), 0.6, method)[0] for method in (0, 1)}
extremes = {method: (round(float(mask.min()), 2), round(float(mask.max()), 2)) for method, mask in masks.items()}
shifts = {factor: [shift(place, factor) for place in (7, 17)] for factor in (0.6, 2)}
print(f"niimath {version('niimath')}: a mask of ones, factor 0.6, by method (0 nearest, 1 linear): {extremes}; shift in mm of a "
      f"nucleus at 7 and at 17 mm, by factor: {shifts}")
assert extremes[0][0] < 0.3 and extremes[0][1] > 1.9 and extremes[1][0] < 0.85 and extremes[1][1] > 1.25
assert shifts[0.6][1] > 1 and shifts[0.6][1] - shifts[0.6][0] > 0.5 and max(map(abs, shifts[2])) < 0.1
PYTHON
