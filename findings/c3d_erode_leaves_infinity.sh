#!/bin/sh
# What does c3d -erode 1 1x1x1vox make of a mask of 0 and 1?
# Expected: a smaller mask of 0 and 1. Seen: the layer taken off is minus infinity in the file, as floating point (c3d's
# default type), and -background 0 changes nothing; -dilate is right, and with -type uchar the erosion is too.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 nibabel==5.4.2 picsl-c3d==1.4.6.0
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import nibabel
import numpy as np
from picsl_c3d import Convert3D

mask = np.zeros((20, 20, 20), np.uint8)
mask[5:15, 5:15, 5:15] = 1
nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), "mask.nii.gz")


def after(options):
    Convert3D().execute(f"mask.nii.gz {options} -o out.nii.gz")
    return nibabel.load("out.nii.gz").get_fdata()


eroded, grounded, whole = (after(o) for o in ("-erode 1 1x1x1vox", "-background 0 -erode 1 1x1x1vox",
                                              "-erode 1 1x1x1vox -type uchar"))
dilated = after("-dilate 1 1x1x1vox")
print(f"picsl-c3d {version('picsl-c3d')}: values after the erosion {np.unique(eroded)} ({np.isneginf(eroded).sum()} infinite), "
      f"as uchar {np.unique(whole)}; after the dilation {np.unique(dilated)}")
assert np.isneginf(eroded).sum() == np.isneginf(grounded).sum() == 10**3 - 8**3
assert whole.sum() == 8**3 and set(np.unique(dilated)) == {0, 1} and dilated.sum() > 10**3
PYTHON
