#!/bin/sh
# What does ants.denoise_image make of a map with values below zero?
# Expected: -0.1 with noise becomes a smoother -0.1. Seen: +0.1; the default noise model, Rician, gives values that cannot
# be negative, without a warning. With noise_model="Gaussian" the sign is kept.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 antspyx==0.6.3
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import ants
import numpy as np

x = np.linspace(-1, 1, 24)[:, None, None]
chi = 0.1 * np.sign(x) + 0.02 * np.random.default_rng(0).standard_normal((24, 24, 24))
low, high = np.s_[3:9], np.s_[15:21]
default, gaussian = (ants.denoise_image(ants.from_numpy(chi), **options).numpy() for options in ({}, {"noise_model": "Gaussian"}))
print(f"antspyx {ants.__version__}: means of {chi[low].mean():+.3f} and {chi[high].mean():+.3f} become {default[low].mean():+.3f} and "
      f"{default[high].mean():+.3f}, with the Gaussian model {gaussian[low].mean():+.3f} and {gaussian[high].mean():+.3f}")
assert abs(default[low].mean() - 0.1) < 0.01 and abs(default[high].mean() - 0.1) < 0.01 and default.min() >= 0
assert abs(gaussian[low].mean() + 0.1) < 0.01 and abs(gaussian[high].mean() - 0.1) < 0.01
PYTHON
