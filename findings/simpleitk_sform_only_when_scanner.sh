#!/bin/sh
# Which affine does ITK take from a NIfTI file whose qform (scanner) and sform differ?
# Expected: the sform, whatever its code, as nibabel does. Seen: only where the sform's code is 1; else the qform.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 nibabel==5.4.2 SimpleITK==2.5.7 antspyx==0.6.3
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import ants
import nibabel
import numpy as np
import SimpleITK as sitk

turn = np.deg2rad(30)
turned = np.eye(4)
turned[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
data = np.random.default_rng(0).random((6, 7, 8), np.float32)
seen = {}
for code in (1, 2, 4):
    image = nibabel.Nifti1Image(data, np.eye(4))
    image.set_qform(np.eye(4), 1)
    image.set_sform(turned, code)
    nibabel.save(image, f"code{code}.nii.gz")
    assert np.allclose(nibabel.load(f"code{code}.nii.gz").affine, turned, atol=1e-6)
    axis = sitk.ReadImage(f"code{code}.nii.gz").GetDirection()[0]
    axis_ants = ants.image_read(f"code{code}.nii.gz").direction[0, 0]
    seen[code] = "sform" if abs(abs(axis) - np.cos(turn)) < 1e-3 else "qform"
    assert np.isclose(axis, axis_ants, atol=1e-6)
sitk.WriteImage(sitk.ReadImage("code4.nii.gz"), "copy.nii.gz")
copy = nibabel.load("copy.nii.gz")
kept = bool(np.allclose(copy.get_sform(), turned, atol=1e-3))
print(f"SimpleITK {sitk.Version_VersionString()}, antspyx {ants.__version__}: affine taken by code of the sform: {seen};")
print(f"copy of the file with sform code 4: sform code {int(copy.header['sform_code'])}, sform kept: {kept}")
assert seen == {1: "sform", 2: "qform", 4: "qform"} and not kept and copy.header["sform_code"] == 1
PYTHON
