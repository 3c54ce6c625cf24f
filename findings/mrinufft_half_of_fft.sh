#!/bin/sh
# What does mri-nufft's operator give at the points of the regular grid?
# Expected: the unitary FFT, as sigpy.nufft does to a third of a percent. Seen: half of it in two dimensions and 0.354 of it
# in three (the norm has a factor 2 for each axis), so that its adjoint after it gives a quarter and an eighth of the image.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.3.5 finufft==2.5.1 mri-nufft==1.5.1 sigpy==0.1.27
cd "$folder"
PATH="$folder/venv/bin:$PATH" python -W ignore - <<'PYTHON'
from importlib.metadata import version

import mrinufft
import numpy as np
import sigpy

rng = np.random.default_rng(0)
ratio = {}
for shape in ((8, 10), (8, 10, 6)):
    image = (rng.random(shape) + 1j * rng.random(shape)).astype(np.complex64)
    grid = np.stack(np.meshgrid(*[np.arange(-n // 2, n // 2) for n in shape], indexing="ij"), -1).astype(np.float32)
    unitary = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(image), norm="ortho")).ravel()
    operator = mrinufft.get_operator("finufft")((grid / shape).reshape(-1, len(shape)), shape=shape, n_coils=1)
    samples = np.ravel(operator.op(image))
    back = np.squeeze(operator.adj_op(operator.op(image)))
    by_sigpy = sigpy.nufft(image, grid).ravel()
    ratio[len(shape)] = [round(float(np.vdot(b, a).real / np.vdot(b, b).real), 3)
                         for a, b in ((samples, unitary), (back, image), (by_sigpy, unitary))]
    assert np.allclose(samples, ratio[len(shape)][0] * unitary, atol=0.01)
print(f"mri-nufft {version('mri-nufft')}, sigpy {version('sigpy')}: by number of axes, mri-nufft over FFT, its adjoint after it "
      f"over the image, sigpy over FFT: {ratio}")
assert np.allclose([ratio[2], ratio[3]], [[0.5, 0.25, 1], [0.354, 0.125, 1]], atol=0.005)
PYTHON
