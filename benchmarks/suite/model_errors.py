"""What a reconstruction is told wrongly, for ablations."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from qsm_recon.datasets.case import Case

TILT_DEGREES = 5.0


def direction_off_by_5_degrees(case: Case) -> Case:
    """The same data with the main field said to be turned about the first axis by five degrees."""
    angle = math.radians(TILT_DEGREES)
    turn = np.array([[1, 0, 0], [0, math.cos(angle), -math.sin(angle)], [0, math.sin(angle), math.cos(angle)]])
    grid = case.problem.grid
    x, y, z = (float(part) for part in turn @ np.asarray(grid.b0_direction))
    return replace(case, problem=replace(case.problem, grid=replace(grid, b0_direction=(x, y, z))))
