#!/bin/sh
# Is get_direction of nii-rs, "same style as SimpleITK", the direction of the axes, for voxels of 1 x 1.5 x 2 mm?
# Expected: unit vectors, as of SimpleITK. Seen: each has the length of its voxel size, so that a field direction in voxel
# axes made with it is wrong, and the voxel size is in twice where it is used with get_spacing.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.3.5 nibabel==5.4.2 SimpleITK==2.5.7 nii-rs==0.1.2
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import nibabel
import nii
import numpy as np
import SimpleITK as sitk

sizes = np.array([1, 1.5, 2])
turn = nibabel.eulerangles.euler2mat(0.2, 0.1, -0.15)
nibabel.save(nibabel.Nifti1Image(np.zeros((8, 9, 10), np.float32), nibabel.affines.from_matvec(turn * sizes, [3, 4, 5])), "map.nii")
by_nii, by_itk = nii.read_image("map.nii"), sitk.ReadImage("map.nii")
directions = [np.reshape(image, (3, 3)) for image in (by_nii.get_direction(), by_itk.GetDirection())]
lengths = [np.linalg.norm(direction, axis=0).round(3).tolist() for direction in directions]
fields = [(direction.T @ [0, 0, 1]).round(3).tolist() for direction in directions]
print(f"nii-rs {version('nii-rs')} and SimpleITK {sitk.Version_VersionString()}: lengths of the axes {lengths}, field along the "
      f"axes {fields}, spacing {by_nii.get_spacing()}")
assert np.allclose(lengths, [sizes, [1, 1, 1]], atol=1e-3) and np.allclose(directions[0], directions[1] * sizes, atol=1e-5)
PYTHON
