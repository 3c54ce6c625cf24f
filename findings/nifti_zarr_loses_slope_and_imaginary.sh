#!/bin/sh
# What comes back from nifti-zarr's nii2zarr and zarr2nii of a phase stored as 16-bit numbers with a slope, and of a complex
# image?
# Expected: the same values; the header goes along. Seen: the slope, though the zarr file holds it, is neither applied nor
# written, so that ±pi comes back as ±32768; of a complex image the imaginary part is zero, though the type stays complex.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 nibabel==5.4.2 nifti-zarr==1.0.0rc8
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import nibabel
import numpy as np
from niizarr import nii2zarr, zarr2nii

phase = np.linspace(-np.pi, np.pi, 16**3).reshape(16, 16, 16)


def there_and_back(name, values, dtype):
    image = nibabel.Nifti1Image(values, np.diag([1.0, 1, 2, 1]), dtype=dtype)
    image.set_data_dtype(dtype)
    nibabel.save(image, f"{name}.nii.gz")
    nii2zarr(f"{name}.nii.gz", f"{name}.nii.zarr")
    zarr2nii(f"{name}.nii.zarr", f"{name}_back.nii.gz")
    before, after = (nibabel.load(file) for file in (f"{name}.nii.gz", f"{name}_back.nii.gz"))
    return np.asarray(before.dataobj), np.asarray(after.dataobj)


before, after = there_and_back("phase", phase, np.int16)
image, image_back = there_and_back("complex", np.exp(1j * phase), np.complex64)
print(f"nifti-zarr {version('nifti-zarr')}: {before.min():.3f} to {before.max():.3f} comes back as {after.min()} to {after.max()}; "
      f"{image[8, 8, 9]:.3f} comes back as {image_back[8, 8, 9]:.3f}")
assert abs(before.max() - np.pi) < 1e-3 and (after.min(), after.max()) == (-32768, 32767)
assert np.iscomplexobj(image_back) and not image_back.imag.any() and np.allclose(image_back.real, image.real)
PYTHON
