"""A small synthetic measurement with everything in it that makes life hard: oblique, anisotropic, odd, weighted."""

from __future__ import annotations

from typing import Any

import numpy as np

from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.solvers.constant_field import constant_of_field

SHAPE, VOXEL_SIZE, DIRECTION = (15, 18, 13), (1.0, 0.9, 1.4), (0.2, -0.3, 0.93)


class Measurement:
    """Two blocks in an ellipsoid at 3 T, with noise of 1 ppb; made from a seed, always the same.

    Attributes
    ----------
    truth
        (15, 18, 13) susceptibility, ppm.
    field
        Its field with noise, ppm; its constant is zero.
    mask, magnitude, grid
        As in a :class:`qsm_recon.problem.Problem`.
    """

    def __init__(self) -> None:
        rng = np.random.default_rng(11)
        self.grid = Grid(SHAPE, VOXEL_SIZE, DIRECTION)
        x, y, z = np.ix_(*[np.linspace(-1, 1, n) for n in SHAPE])
        self.mask = x**2 + y**2 + z**2 < 0.95
        blocks = np.zeros(SHAPE)
        blocks[3:7, 5:10, 3:8], blocks[8:12, 9:14, 5:10] = 0.15, -0.1
        self.truth = np.where(self.mask, blocks, 0)
        field = DipoleOperator(self.grid, dtype=np.float64).forward(self.truth)
        field = (field + 0.001 * rng.standard_normal(SHAPE)).astype(np.float32)
        self.magnitude = rng.uniform(0.5, 1, SHAPE).astype(np.float32)
        self.field = field
        self.field = (field - np.float32(constant_of_field(self.problem()))).astype(np.float32)

    def problem(self, **changes: Any) -> Problem:
        """Return the problem of it, with other members where given."""
        members: dict[str, Any] = {
            "field_ppm": self.field,
            "mask": self.mask,
            "grid": self.grid,
            "magnitude": self.magnitude,
            "b0_tesla": 3.0,
            "echo_times_s": (0.020,),
            "field_kind": "local",
        }
        return Problem(**{**members, **changes})
