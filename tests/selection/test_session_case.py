"""What tells one data set of a session from another."""

from dataclasses import fields, replace

import numpy as np
import pytest

from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.select.session_case import fingerprint
from qsm_recon.testing.measurement import Measurement

IMAGES = ("magnitude", "weight", "field_noise_ppm", "r2star_per_s", "reliability")
MEMBERS = [item.name for item in fields(Problem) if item.init]


@pytest.fixture(scope="module")
def problem():
    measured = Measurement()
    images = {name: measured.magnitude + np.float32(0) for name in IMAGES}
    echoes = np.ones((*measured.grid.shape, 1), np.complex64)
    return measured.problem(**images, echoes=echoes, field_offset_ppm=0.01)


@pytest.mark.parametrize("name", MEMBERS)
def test_every_member_of_a_problem_tells(problem, name):
    """The kind of a field decides whether ``tfi`` solves for a background, the offset what ``mctfi`` expects."""
    grid = problem.grid
    value = getattr(problem, name)
    changed = {
        "grid": Grid(grid.shape, grid.voxel_size_mm, (0.0, 0.0, 1.0)),
        "mask": ~value if name == "mask" else None,
        "field_kind": "total",
        "b0_tesla": 7.0,
        "echo_times_s": (0.021,),
        "field_offset_ppm": 0.02,
    }
    other = changed[name] if name in changed else value * value.dtype.type(0.5)
    assert fingerprint(replace(problem, **{name: other})) != fingerprint(problem)
    assert fingerprint(replace(problem)) == fingerprint(problem)
