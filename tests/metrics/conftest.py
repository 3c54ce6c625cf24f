"""A small synthetic head with every region that the metrics look at."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

SHAPE = (44, 46, 42)


@pytest.fixture
def head() -> SimpleNamespace:
    """Truth, label map, mask and a noisy, underestimating reconstruction; nothing is zero outside the mask."""
    rng = np.random.default_rng(7)
    grid = np.indices(SHAPE, dtype=float)
    centre = [(n - 1) / 2 for n in SHAPE]
    radius = np.sqrt(sum(((g - c) / (0.46 * n)) ** 2 for g, c, n in zip(grid, centre, SHAPE, strict=True)))
    mask = radius < 1
    labels = np.where(mask, 8, 0).astype(np.uint8)
    labels[mask & (radius > 0.85)] = 9
    for step, label in enumerate([1, 2, 3, 4, 5, 6, 7]):
        labels[8 + 4 * step : 11 + 4 * step, 30:34, 20:24] = label
    labels[21:23, 0:4, 18:24] = 11  # reaches the surface, so that its dilation leaves the mask
    labels[20:24, 18:22, 19:23] = 16
    labels[30, 14, 14] = 0  # an unlabelled voxel inside
    labels[~mask] = 0
    means = {0: 0.01, 1: 0.05, 2: 0.13, 3: 0.04, 4: 0.1, 5: 0.15, 6: 0.11, 7: 0.02, 8: -0.03, 9: 0.02, 11: 0.3, 16: -2}
    truth = np.vectorize(means.get)(labels) + 0.01 * rng.standard_normal(SHAPE)
    reconstruction = 0.8 * truth + 0.02 * rng.standard_normal(SHAPE) + 0.05
    return SimpleNamespace(truth=truth, labels=labels, mask=mask, reconstruction=reconstruction)


@pytest.fixture(scope="session")
def challenge_case() -> SimpleNamespace:
    """Inputs and results of the challenge's evaluation code, where the reference folder is at hand."""
    path = Path(__file__).resolve().parents[3] / "shared" / "reference" / "rc2_evaluation_case.npz"
    if not path.exists():
        pytest.skip("the folder with reference results is absent")
    with np.load(path) as stored:
        return SimpleNamespace(**{name: stored[name] for name in stored.files})
