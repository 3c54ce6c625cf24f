#!/bin/sh
# What is phase * (pi / 4096) in SimpleITK, for a phase in whole numbers from -4096 to 4095?
# Expected: the phase in radians, as of phase / 4096 * pi. Seen: the image stays one of 16-bit whole numbers, and the factor is
# cut to one too: all zero, and phase + 0.5 is the phase. A division makes floating-point numbers of it and is right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 SimpleITK==2.5.7
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import numpy as np
import SimpleITK as sitk

values = np.arange(-4096, 4096, dtype=np.int16).reshape(16, 32, 16)
phase = sitk.GetImageFromArray(values)
made = {"phase * (pi / 4096)": phase * (np.pi / 4096), "phase + 0.5": phase + 0.5, "phase / 4096 * pi": phase / 4096 * np.pi}
first = {name: (image.GetPixelIDTypeAsString(), float(sitk.GetArrayFromImage(image)[0, 0, 0])) for name, image in made.items()}
print(f"SimpleITK {sitk.Version_VersionString()}, type and first value of {values[0, 0, 0]}: {first}")
product, total, quotient = (sitk.GetArrayFromImage(image) for image in made.values())
assert not product.any() and (total == values).all() and np.allclose(quotient, values * np.pi / 4096)
PYTHON
