"""A small synthetic measurement with everything in it that makes life hard: oblique, anisotropic, odd, weighted."""

from types import SimpleNamespace

import numpy as np
import pytest
from oracles.cases import centred
from oracles.fields import dipole_kernel, filtered

from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem

SHAPE, VOXEL_SIZE, DIRECTION = (15, 18, 13), (1.0, 0.9, 1.4), (0.2, -0.3, 0.93)


@pytest.fixture(scope="session")
def synthetic():
    """Truth (ppm), field with a little noise, ellipsoidal mask, magnitude, grid, and ``problem(**changes)``."""
    rng = np.random.default_rng(11)
    x, y, z = np.ix_(*[np.linspace(-1, 1, n) for n in SHAPE])
    mask = x**2 + y**2 + z**2 < 0.95
    truth = np.zeros(SHAPE)
    truth[3:7, 5:10, 3:8], truth[8:12, 9:14, 5:10] = 0.15, -0.1
    truth = np.where(mask, truth, 0)
    field = filtered(dipole_kernel("continuous", SHAPE, VOXEL_SIZE, DIRECTION), truth).real
    field += 0.001 * rng.standard_normal(SHAPE)
    field = centred(field, mask, Grid(SHAPE, VOXEL_SIZE, DIRECTION)).astype(np.float32)
    case = SimpleNamespace(
        truth=truth,
        field=field,
        mask=mask,
        magnitude=rng.uniform(0.5, 1, SHAPE).astype(np.float32),
        grid=Grid(SHAPE, VOXEL_SIZE, DIRECTION),
    )

    def problem(**changes):
        known = {"field_ppm": field, "mask": mask, "grid": case.grid, "magnitude": case.magnitude}
        known |= {"b0_tesla": 3.0, "echo_times_s": (0.020,), "field_kind": "local"}
        return Problem(**{**known, **changes})

    case.problem = problem
    return case
