#!/bin/sh
# What does DIPY's nlmeans make of a map with values below zero, with rician=False (noise that is not Rician)?
# Expected: -0.1 with noise becomes a smoother -0.1. Seen: +0.1, with rician=True and False, by both methods, without a
# warning.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 dipy==1.12.1
cd "$folder"
PATH="$folder/venv/bin:$PATH" python -W ignore - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from dipy.denoise.nlmeans import nlmeans

sign = np.sign(np.linspace(-1, 1, 16))[:, None, None]
chi = 0.1 * sign + 0.02 * np.random.default_rng(0).standard_normal((16, 16, 16))
seen = {}
for method in ("blockwise", "classic"):
    for rician in (True, False):
        smooth = nlmeans(chi, sigma=0.02, rician=rician, method=method, block_radius=1, num_threads=1)
        seen[f"{method}, rician={rician}"] = [round(float(smooth[part].mean()), 3) for part in (np.s_[2:6], np.s_[10:14])]
        assert smooth.min() >= 0
print(f"dipy {version('dipy')}: means of {chi[2:6].mean():+.3f} and {chi[10:14].mean():+.3f} become {seen}")
assert all(abs(value - 0.1) < 0.01 for pair in seen.values() for value in pair)
PYTHON
