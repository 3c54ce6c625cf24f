#!/bin/sh
# How wide does ants.smooth_image smooth, with sigma 8 mm, for a high pass, in voxels of 0.5 mm and of 0.4 mm?
# Expected: a standard deviation of 8 mm. Seen: 7.1 and 6.3 mm: the kernel ends after 32 voxels to each side, whatever sigma
# is, without a word. With max_kernel_width it is right; SimpleITK's DiscreteGaussian has the same default,
# and c3d -smooth the same without a choice.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.3.5 antspyx==0.6.3 SimpleITK==2.5.7 nibabel==5.4.2 picsl-c3d==1.4.6.0
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import ants
import nibabel
import numpy as np
import SimpleITK as sitk
from picsl_c3d import Convert3D


def spread(line, spacing):
    """Standard deviation of what became of a single voxel, in mm."""
    place = spacing * np.arange(len(line))
    middle = (line * place).sum() / line.sum()
    return round(float(np.sqrt((line * (place - middle) ** 2).sum() / line.sum())), 2)


point = np.zeros((401, 5, 5), np.float32)
point[200] = 1
seen = {}
for spacing in (2.0, 0.5, 0.4):
    image = ants.from_numpy(point, spacing=(spacing,) * 3)
    by_itk = sitk.GetImageFromArray(np.ascontiguousarray(point.T))
    by_itk.SetSpacing((spacing,) * 3)
    nibabel.save(nibabel.Nifti1Image(point, np.diag([spacing] * 3 + [1])), "point.nii.gz")
    Convert3D().execute("point.nii.gz -smooth 8mm -o out.nii.gz")
    seen[spacing] = [spread(ants.smooth_image(image, 8.0).numpy()[:, 2, 2], spacing),
                     spread(ants.smooth_image(image, 8.0, max_kernel_width=400).numpy()[:, 2, 2], spacing),
                     spread(sitk.GetArrayFromImage(sitk.DiscreteGaussian(by_itk, 64.0))[2, 2], spacing),
                     spread(nibabel.load("out.nii.gz").get_fdata()[:, 2, 2], spacing)]
print(f"sigma 8 mm by voxel size in mm: antspyx {version('antspyx')}, with max_kernel_width, SimpleITK "
      f"{sitk.Version_VersionString()}, picsl-c3d {version('picsl-c3d')}: {seen}")
assert all(abs(value - 8) < 0.4 for value in (*seen[2.0], seen[0.5][1], seen[0.4][1]))
assert max(seen[0.5][i] for i in (0, 2, 3)) < 7.2 and max(seen[0.4][i] for i in (0, 2, 3)) < 6.4
PYTHON
