#!/bin/sh
# Whose voxel size is whose in qsm_forward.generate_field(chi, voxel_size=[a, b, c])?
# Expected: a belongs to the array's axis 0, b to axis 1, c to axis 2; the field of a sphere is that of a point dipole.
# Seen: a and b change places. Voxels of 2 x 1 x 1 mm give a field wrong by half of it; given as [1, 2, 1] it is right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 qsm-forward==0.32
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from qsm_forward import generate_field


def error(voxel_size, given):
    """Of the field round a sphere of 8 mm, relative to that of a point dipole, from 11 to 20 mm of its centre."""
    x, y, z = (size * (index - 24) for size, index in zip(voxel_size, np.indices((48, 48, 48))))
    distance = np.sqrt(x**2 + y**2 + z**2)
    chi = (distance < 8).astype(float)
    near = (distance > 11) & (distance < 20)
    exact = chi.sum() * np.prod(voxel_size) / (4 * np.pi) * (3 * z[near] ** 2 / distance[near] ** 2 - 1) / distance[near] ** 3
    field = np.real(generate_field(chi, voxel_size=list(given)))[near]
    return float(np.std(field - exact) / np.std(exact))


right = error((1, 1, 1), (1, 1, 1)), error((1, 1, 2), (1, 1, 2)), error((2, 2, 1), (2, 2, 1))
wrong = error((2, 1, 1), (2, 1, 1)), error((1, 2, 1), (1, 2, 1))
exchanged = error((2, 1, 1), (1, 2, 1)), error((1, 2, 1), (2, 1, 1))
print(f"qsm-forward {version('qsm-forward')}: error of the field with voxels 1 x 1 x 1, 1 x 1 x 2, 2 x 2 x 1: "
      f"{', '.join(f'{e:.3f}' for e in right)}; 2 x 1 x 1, 1 x 2 x 1: {', '.join(f'{e:.3f}' for e in wrong)}; "
      f"these with a and b exchanged: {', '.join(f'{e:.3f}' for e in exchanged)}")
assert max(right) < 0.05 and min(wrong) > 0.4 and max(exchanged) < 0.05
PYTHON
