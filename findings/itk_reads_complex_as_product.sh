#!/bin/sh
# What do ITK's readers give when a complex NIfTI file is read as one of real numbers (SimpleITK with sitkFloat32, c3d)?
# Expected: an error, or else the real part or the magnitude. Seen: the product of the real and the imaginary part, as of a
# grey value and its opacity. Without a type SimpleITK reads it as complex; ANTsPy refuses it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.3.5 nibabel==5.4.2 SimpleITK==2.5.7 picsl-c3d==1.4.6.0
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import nibabel
import numpy as np
import SimpleITK as sitk
from picsl_c3d import Convert3D

rng = np.random.default_rng(0)
values = (rng.random((10, 11, 12)) * np.exp(1j * rng.uniform(-np.pi, np.pi, (10, 11, 12)))).astype(np.complex64)
nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), "complex.nii.gz")
plain, asked = (sitk.GetArrayFromImage(sitk.ReadImage("complex.nii.gz", *kind)).T for kind in ((), (sitk.sitkFloat32,)))
Convert3D().execute("complex.nii.gz -o c3d.nii.gz")
by_c3d = nibabel.load("c3d.nii.gz").get_fdata()
first = values[0, 0, 0]
print(f"SimpleITK {sitk.Version_VersionString()}: {first:.4f} is read as {plain[0, 0, 0]:.4f}, with sitkFloat32 as "
      f"{asked[0, 0, 0]:.4f}; picsl-c3d {version('picsl-c3d')}: {by_c3d[0, 0, 0]:.4f}; product {first.real * first.imag:.4f}")
product = values.real * values.imag
assert np.allclose(plain, values) and np.allclose(asked, product, atol=1e-6) and np.allclose(by_c3d, product, atol=1e-6)
PYTHON
