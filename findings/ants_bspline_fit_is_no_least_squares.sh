#!/bin/sh
# Does ants.fit_bspline_object_to_scattered_data, cubic, with a mesh of one, give back a linear phase from 4000 samples of it
# without noise?
# Expected: yes, a cubic spline has linear functions in it. Seen: with one level a ramp of 2 rad comes out as 0.7 rad, with
# four, the default, it is 0.2 rad off at the corners: points are averaged level by level, no least squares are solved.
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

places = np.random.default_rng(0).uniform(0, 1, (4000, 3))
line = np.linspace(0, 1, 20)
truth = (2 * line[:, None, None] - line[:, None]) + 0 * line
seen = {}
for levels in (1, 4, 6):
    fitted = ants.fit_bspline_object_to_scattered_data(
        (2 * places[:, :1] - places[:, 1:2]), places, parametric_domain_origin=[0, 0, 0], parametric_domain_spacing=[1 / 19] * 3,
        parametric_domain_size=[20, 20, 20], number_of_fitting_levels=levels, mesh_size=1, spline_order=3).numpy()
    seen[levels] = [round(float(np.ptp(fitted[:, 10, 10])), 3), round(float(np.abs(fitted - truth).max()), 3)]
print(f"antspyx {version('antspyx')}: ramp made of one of {np.ptp(truth[:, 10, 10]):.0f} rad, and largest error, in rad, by number of "
      f"levels: {seen}")
assert seen[1][0] < 0.8 and seen[4][1] > 0.15 and seen[6][1] > 0.1
PYTHON
