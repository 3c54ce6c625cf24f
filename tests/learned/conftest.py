"""The learned methods: tests are skipped where their extra is not installed."""

from __future__ import annotations

import numpy as np
import pytest

from qsm_recon import Problem, make_solver
from qsm_recon.learned.heads import HEAD_VERSION, TrainingHead, _write
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid

SHAPE = (36, 40, 34)


def little_head(seed: int) -> TrainingHead:
    """A ball with boxes in it, in place of a head of the phantom, which takes a minute."""
    draw = np.random.default_rng(seed)
    x, y, z = np.ix_(*[np.linspace(-1, 1, n) for n in SHAPE])
    mask = x**2 + y**2 + z**2 < 0.9
    truth = np.zeros(SHAPE, np.float32)
    for _ in range(6):
        low = draw.integers(4, 22, size=3)
        size = draw.integers(3, 9, size=3)
        truth[tuple(slice(a, a + b) for a, b in zip(low, size, strict=True))] = draw.normal(0, 0.05)
    truth = np.where(mask, truth, 0).astype(np.float32)
    grid = Grid(SHAPE, b0_direction=(0.1, -0.05, 1.0))
    noise = np.where(mask, np.float32(1e-3), 0).astype(np.float32)
    field = DipoleOperator(grid, padding=12).forward(truth) + noise * draw.standard_normal(SHAPE, dtype=np.float32)
    return TrainingHead(truth, np.where(mask, field, 0).astype(np.float32), noise, mask, grid)


def first_map(one: TrainingHead):
    """A map to correct that is made in no time."""
    return (
        make_solver("tikhonov").solve(Problem(one.field_ppm, one.mask, one.grid, field_kind="local")).susceptibility_ppm
    )


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Folder with little heads of seeds 11, 12 and 13 where those of the phantom would be."""
    folder = tmp_path_factory.mktemp("heads")
    for seed in (11, 12, 13):
        _write(folder / f"head-{HEAD_VERSION}-full-{seed}.npz", little_head(seed))
    return folder
