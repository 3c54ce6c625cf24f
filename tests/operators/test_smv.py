"""Spherical mean values."""

import numpy as np
import pytest

from qsm_recon.errors import ParameterError
from qsm_recon.operators.grid import Grid
from qsm_recon.operators.smv import SphericalMean, ball


@pytest.mark.parametrize("shape", [(24, 22, 20), (21, 25, 19)])
def test_is_its_own_adjoint(shape):
    mean = SphericalMean(Grid(shape, (1.0, 1.2, 0.9)), 3.3)
    a, b = np.random.default_rng(0).standard_normal((2, *shape))
    assert np.vdot(a, mean.forward(b)) == pytest.approx(np.vdot(mean.adjoint(a), b), rel=1e-10)


def test_ball_has_the_volume_of_the_ball():
    grid = Grid((24, 24, 24), (1.0, 0.8, 1.2))
    weights = ball(grid, 5.0)
    assert weights.sum() == pytest.approx(1.0)
    volume = np.prod(grid.voxel_size_mm) / weights.max()
    assert volume == pytest.approx(4 / 3 * np.pi * 5.0**3, rel=0.01)


def test_harmonic_fields_equal_their_spherical_mean():
    shape = (30, 30, 30)
    x, y, z = np.ix_(*[np.arange(n) - 14.5 for n in shape])
    harmonic = x**2 - y**2 + 0.3 * y * z + 2 * x + 5 + 0 * z
    inner = (slice(10, 20),) * 3
    mean = SphericalMean(Grid(shape), 6.0)
    assert np.abs(mean.forward(harmonic) - harmonic)[inner].max() < 1e-9 * np.abs(harmonic).max()
    assert np.abs(mean.forward(x**2 + 0 * y + 0 * z) - x**2)[inner].min() > 1


def test_erosion_keeps_what_is_a_radius_inside():
    shape, radius = (40, 40, 40), 5.0
    x, y, z = np.ix_(*[np.arange(n) - 19.5 for n in shape])
    distance = np.sqrt(x**2 + y**2 + z**2)
    mask = distance < 15
    eroded = SphericalMean(Grid(shape), radius).eroded(mask)
    assert eroded[distance < 15 - radius - 1].all()
    assert not eroded[distance > 15 - radius + 1].any()


@pytest.mark.parametrize("radius", [0.0, -1.0, float("nan"), 100.0])
def test_refuses_impossible_radii(radius):
    with pytest.raises(ParameterError):
        ball(Grid((12, 12, 12)), radius) if radius == 100.0 else SphericalMean(Grid((12, 12, 12)), radius)
