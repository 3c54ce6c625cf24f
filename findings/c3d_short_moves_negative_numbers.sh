#!/bin/sh
# Which values has a phase in whole numbers after c3d -type short?
# Expected: the same. Seen: every negative number is one too high, -2096 becomes -2095: a half is added and the fraction cut
# off, which rounds numbers above zero only. With -noround before it whole numbers stay.
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

phase = np.arange(-4096, 4095, 2, dtype=np.int16)[:4000].reshape(20, 20, 10)
nibabel.save(nibabel.Nifti1Image(phase, np.eye(4)), "phase.nii.gz")


def through(options):
    Convert3D().execute(f"phase.nii.gz {options} -o out.nii.gz")
    image = nibabel.load("out.nii.gz")
    assert image.get_data_dtype() == np.int16
    return image.get_fdata() - phase


plain, kept = through("-type short"), through("-noround -type short")
print(f"picsl-c3d {version('picsl-c3d')}: change of values below zero {np.unique(plain[phase < 0])}, from zero "
      f"{np.unique(plain[phase >= 0])}, with -noround {np.unique(kept)}")
assert (plain[phase < 0] == 1).all() and not plain[phase >= 0].any() and not kept.any()
PYTHON
