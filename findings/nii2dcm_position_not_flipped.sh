#!/bin/sh
# Where in the scanner's coordinates is a spot after nii2dcm made DICOM of the NIfTI?
# Expected: where it was. Seen: the directions are right, the position is not: x and y of the NIfTI's origin are written as
# they are, though DICOM counts both the other way, and the slices begin one slice too low. A volume whose first voxel is at
# (10, -20) is moved by (-20, 40, -3) mm, whatever its orientation.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==1.23.2 nibabel==5.0.0 nii2dcm==0.1.6 dcm2niix==1.0.20250506
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import subprocess
from importlib.metadata import version
from pathlib import Path

import nibabel
import numpy as np
import pydicom

spot = np.zeros((20, 24, 16), np.int16)
spot[14:17, 5:7, 11:13] = 1000


def place(slices):
    """The middle of the spot by the DICOM's own position and orientation, in NIfTI's coordinates."""
    points = []
    for s in slices:
        for row, column in np.argwhere(s.pixel_array > 500):
            along_row, along_column = np.reshape([float(v) for v in s.ImageOrientationPatient], (2, 3))
            points.append(np.array([float(v) for v in s.ImagePositionPatient])
                          + column * float(s.PixelSpacing[1]) * along_row + row * float(s.PixelSpacing[0]) * along_column)
    return np.mean(points, axis=0) * [-1, -1, 1]


print(f"nii2dcm {version('nii2dcm')}, dcm2niix {version('dcm2niix')}")
for name, signs in (("RAS", (1, 1)), ("LAS", (-1, 1)), ("LPS", (-1, -1))):
    affine = np.diag([2.0 * signs[0], 2.0 * signs[1], 3, 1])
    affine[:3, 3] = 10, -20, -24
    nibabel.save(nibabel.Nifti1Image(spot, affine), f"{name}.nii.gz")
    Path(name).mkdir()
    subprocess.run(["nii2dcm", f"{name}.nii.gz", name, "-d", "MR"], check=True, capture_output=True)
    subprocess.run(["dcm2niix", "-o", ".", "-f", f"{name}_back", name], check=True, capture_output=True)
    before = affine[:3, :3] @ np.argwhere(spot).mean(0) + affine[:3, 3]
    after = place([pydicom.dcmread(file) for file in sorted(Path(name).rglob("*.dcm"))])
    back = nibabel.load(f"{name}_back.nii")
    read_back = back.affine[:3, :3] @ np.argwhere(back.get_fdata() > 500).mean(0) + back.affine[:3, 3]
    print(f"{name}: the spot was at {before.round(1)}, is at {after.round(1)} in the DICOM, {read_back.round(1)} read back")
    assert np.allclose(after - before, [-20, 40, -3], atol=0.1) and np.allclose(read_back, after, atol=0.1)
PYTHON
