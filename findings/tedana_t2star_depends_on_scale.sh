#!/bin/sh
# Does the T2* of tedana's t2smap, by its default fit, depend on the scale of the magnitude?
# Expected: no. Seen: one is added to each value before the logarithm: of a noise-free decay with T2* 48.6 ms remain 48.7 ms
# where the signal begins at 1000, 56 ms where at 10 and 120 ms where at 1, as in a magnitude scaled to its maximum. With
# fittype="curvefit" all are right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 nibabel==5.4.2 six==1.17.0 tedana==26.0.3
cd "$folder"
PATH="$folder/venv/bin:$PATH" python -W ignore - 2>warnings.txt <<'PYTHON'
from importlib.metadata import version

import nibabel
import numpy as np
from tedana.workflows import t2smap_workflow

t2star = np.linspace(0.02, 0.08, 12 * 12 * 6).reshape(12, 12, 6)
echo_times = [0.005, 0.012, 0.019, 0.026, 0.033]
nibabel.save(nibabel.Nifti1Image(np.ones(t2star.shape, np.uint8), np.eye(4)), "mask.nii.gz")


def fitted(scale, fit):
    names = []
    for number, time in enumerate(echo_times, 1):
        decay = scale * np.exp(-time / t2star)[..., None] * np.ones(10)
        names.append(f"echo{number}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(decay.astype(np.float32), np.eye(4)), names[-1])
    t2smap_workflow(names, echo_times, out_dir=f"{fit}{scale}", mask="mask.nii.gz", fittype=fit, quiet=True)
    return nibabel.load(f"{fit}{scale}/T2starmap.nii.gz").get_fdata() / t2star


seen = {scale: float(np.median(fitted(scale, "loglin"))) for scale in (1000, 10, 1)}
curve = float(np.median(fitted(1, "curvefit")))
print(f"tedana {version('tedana')}: T2* over the true one by the signal at the beginning: "
      f"{ {scale: round(ratio, 3) for scale, ratio in seen.items()} }; curvefit, 1: {curve:.3f}")
assert abs(seen[1000] - 1) < 0.01 and seen[10] > 1.1 and seen[1] > 2 and abs(curve - 1) < 0.01
PYTHON
