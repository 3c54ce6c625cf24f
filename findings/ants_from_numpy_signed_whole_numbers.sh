#!/bin/sh
# Which values has a phase in signed whole numbers after ants.from_numpy?
# Expected: the same, or an error. Seen: every signed type becomes 32-bit unsigned, and -4096 is 4294963200, without a warning;
# the image read from a file and floating-point arrays keep their sign.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 antspyx==0.6.3
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import ants
import numpy as np

phase = np.arange(-4096, 4096, dtype=np.int16).reshape(16, 32, 16)
seen = {}
for kind in (np.int8, np.int16, np.int32, np.int64, np.float32):
    values = (phase // 64 if kind is np.int8 else phase).astype(kind)
    image = ants.from_numpy(values)
    seen[kind.__name__] = [float(values[0, 0, 0]), image.pixeltype, float(image.numpy()[0, 0, 0])]
print(f"antspyx {version('antspyx')}: first value, type of the image, its first value: {seen}")
assert seen.pop("float32")[2] == -4096
assert all(after == before + 2**32 for before, kind, after in seen.values())
PYTHON
