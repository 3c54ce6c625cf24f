#!/bin/sh
# What does DIPY's gibbs_removal make of values below zero (a susceptibility map, a phase) and of complex images?
# Expected: a map of -0.1 stays near -0.1, a complex image keeps its phase. Seen: the modulus: -0.1 becomes +0.1, and of a
# complex image, whose type the result has, only the magnitude is left; no warning.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 dipy==1.12.1
cd "$folder"
PATH="$folder/venv/bin:$PATH" python -W error - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from dipy.denoise.gibbs import gibbs_removal

x = np.linspace(-1, 1, 32)
disc = (x[:, None, None] ** 2 + x[:, None] ** 2 < 0.5) * np.ones(4)
middle = np.s_[16, 16, 2]
removed = [gibbs_removal(image.copy(), num_processes=1, inplace=False)
           for image in (0.1 * disc, -0.1 * disc, disc * np.exp(2j), disc)]
plus, minus, turned = (image[middle] for image in removed[:3])
print(f"dipy {version('dipy')}: +0.1 becomes {plus:+.3f}, -0.1 becomes {minus:+.3f}, exp(2j) becomes {turned:.3f}")
assert abs(plus - 0.1) < 0.005 and abs(minus - 0.1) < 0.005 and removed[1].min() >= 0
assert np.iscomplexobj(removed[2]) and not removed[2].imag.any() and np.allclose(removed[2].real, removed[3])
PYTHON
