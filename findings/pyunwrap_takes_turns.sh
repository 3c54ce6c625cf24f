#!/bin/sh
# In which unit does pyunwrap.unwrap2D take a wrapped phase?
# Expected: radians, as all others take it. Seen: turns: of a phase in radians it closes jumps of 1, not of 2 pi, and a ramp
# of 25 rad comes out 8 rad high, with no warning; in turns, from -0.5 to 0.5, it is right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 pyunwrap==0.0.4
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import numpy as np
import pyunwrap

ramp = np.linspace(0, 20, 60)[:, None] + np.linspace(0, 5, 40)
wrapped = np.angle(np.exp(1j * ramp)).astype(np.float32)
quality = np.ones_like(wrapped)
radians = pyunwrap.unwrap2D(wrapped, quality)
turns = pyunwrap.unwrap2D(wrapped / np.float32(2 * np.pi), quality)
print(f"pyunwrap {version('pyunwrap')}: a ramp of {np.ptp(ramp):.2f} rad, wrapped, becomes one of {np.ptp(radians):.2f}; given in "
      f"turns, {np.ptp(turns):.3f} turns of {np.ptp(ramp) / 2 / np.pi:.3f}")
steps = (radians - wrapped).ravel()
assert np.allclose(steps - steps[0], np.round(steps - steps[0]), atol=1e-4) and np.ptp(radians) < 10
assert np.ptp(turns - ramp / (2 * np.pi)) < 1e-4
PYTHON
