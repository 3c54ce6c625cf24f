#!/bin/sh
# Do ants.image_read(file) and ants.from_nibabel_nifti(nibabel.load(file)) give an image in the same place?
# Expected: yes, whichever form ANTs takes. Seen: where the sform has code 2 or 4 and differs from the qform, the first takes
# the qform and the second the sform: a mask read one way lies beside a map read the other, with equal shapes and values.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 nibabel==5.4.2 antspyx==0.6.3
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import ants
import nibabel
import numpy as np

data = np.random.default_rng(0).random((6, 7, 8), np.float32)
aligned = np.eye(4)
aligned[:3, 3] = 5, 6, 7
apart = {}
for code in (1, 2, 4):
    image = nibabel.Nifti1Image(data, np.eye(4))
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(np.eye(4), 1)
    image.set_sform(aligned, code)
    nibabel.save(image, "map.nii.gz")
    read, given = ants.image_read("map.nii.gz"), ants.from_nibabel_nifti(nibabel.load("map.nii.gz"))
    assert np.allclose(read.numpy(), data) and np.allclose(given.numpy(), data)
    apart[code] = np.abs(np.subtract(read.origin, given.origin)).round(3).tolist()
print(f"antspyx {version('antspyx')}: distance of the two origins in mm by code of the sform: {apart}")
assert apart == {1: [0, 0, 0], 2: [5, 6, 7], 4: [5, 6, 7]}
PYTHON
