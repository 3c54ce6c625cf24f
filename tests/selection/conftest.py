"""A small measurement in memory and on disk, cheap enough to sweep."""

from types import SimpleNamespace

import numpy as np
import pytest

from qsm_recon.io import save_image
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem

SHAPE = (20, 24, 18)
NOISE_PPM = 0.002


def measurement(seed: int) -> SimpleNamespace:
    """A ball with three inclusions, the field of which is known up to noise of known deviation."""
    rng = np.random.default_rng(seed)
    x, y, z = np.ix_(*[np.linspace(-1, 1, n) for n in SHAPE])
    mask = x**2 + y**2 + z**2 < 0.9
    truth = np.zeros(SHAPE, np.float32)
    for _ in range(3):
        centre = rng.uniform(-0.4, 0.4, 3)
        inside = sum((a - c) ** 2 for a, c in zip((x, y, z), centre, strict=True)) < 0.06
        truth[inside] += rng.uniform(0.05, 0.15) * rng.choice((-1, 1))
    truth *= mask
    magnitude = np.where(mask, rng.uniform(0.5, 1, SHAPE), 0).astype(np.float32)
    noise = np.where(mask, NOISE_PPM / np.maximum(magnitude, 0.1), 0).astype(np.float32)
    grid = Grid(SHAPE)
    field = DipoleOperator(grid).forward(truth) + noise * rng.standard_normal(SHAPE).astype(np.float32)
    problem = Problem(
        np.where(mask, field, 0), mask, grid, magnitude=magnitude, field_noise_ppm=noise,
        b0_tesla=3.0, echo_times_s=(0.02,),
    )  # fmt: skip
    return SimpleNamespace(problem=problem, truth=truth, mask=mask, magnitude=magnitude)


@pytest.fixture(scope="session")
def small():
    return measurement(3)


@pytest.fixture(scope="session")
def other():
    return measurement(4)


@pytest.fixture(scope="session")
def on_disk(small, tmp_path_factory):
    """Options of the command that give the small measurement, from files."""
    folder = tmp_path_factory.mktemp("scan")
    affine = np.eye(4)
    images = {"field": small.problem.field_ppm, "mask": small.mask.astype(np.uint8), "truth": small.truth}
    for name, image in {**images, "magnitude": small.magnitude}.items():
        save_image(folder / f"{name}.nii.gz", image, affine)
    paths = {f"--{name}": str(folder / f"{name}.nii.gz") for name in ("field", "mask", "magnitude", "truth")}
    words = [word for pair in paths.items() for word in pair]
    return [*words, "--field-unit", "ppm", "--b0", "3", "--te", "0.02"]
