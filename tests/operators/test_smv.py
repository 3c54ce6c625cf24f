"""Spherical mean values."""

import numpy as np
import pytest
from oracles.harmonic import difference_matrix, harmonic_polynomials

from qsm_recon.errors import ParameterError
from qsm_recon.operators.grid import Grid
from qsm_recon.operators.smv import SphericalDifference, SphericalMean, ball


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


@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), (1.0, 1.3, 2.5), (0.6, 2.0, 1.0)])
def test_balls_of_equal_moments_leave_nothing_of_harmonic_quadratics(voxel_size):
    grid = Grid((31, 24, 26), voxel_size)
    mask = np.ones(grid.shape, bool)
    operator = SphericalDifference(grid, mask, (5.5, 4.0), np.float64)
    assert 0 < operator.valid.sum() < mask.sum()
    for field in harmonic_polynomials(grid):
        assert np.abs(operator.forward(field)).max() < 1e-10 * np.abs(field).max()
    x = np.arange(31.0)[:, None, None] * voxel_size[0] + np.zeros(grid.shape)
    largest = np.where(operator.regions[0], operator.forward(x**2), 0)[operator.regions[0]]
    np.testing.assert_allclose(largest, -(5.5**2) / 5, rtol=1e-6)  # the ball's second moment


@pytest.mark.parametrize("shape", [(13, 14, 11), (12, 15, 16)])
def test_difference_is_the_naive_one_and_has_its_adjoint(shape):
    grid = Grid(shape, (1.0, 1.2, 1.6))
    rng = np.random.default_rng(4)
    x, y, z = np.ix_(*[np.linspace(-1, 1, n) for n in shape])
    mask = x**2 + y**2 + z**2 < 1.1
    radii = (2.4, 3.6)
    operator = SphericalDifference(grid, mask, radii, np.float64)
    matrix, valid = difference_matrix(grid, mask, radii)
    assert np.array_equal(valid, operator.valid)
    assert len(operator.regions) == 2
    image, other = rng.standard_normal((2, *shape))
    inside = np.where(mask, image, 0)
    np.testing.assert_allclose(operator.forward(inside)[valid], matrix @ inside.ravel(), atol=1e-12)
    assert np.vdot(operator.forward(image), other) == pytest.approx(np.vdot(image, operator.adjoint(other)), rel=1e-10)


def test_difference_refuses_balls_that_do_not_fit():
    mask = np.zeros((20, 20, 20), bool)
    mask[8:12, 8:12, 8:12] = True
    with pytest.raises(ParameterError, match=r"no ball of 5 mm fits"):
        SphericalDifference(Grid(mask.shape), mask, (5.0, 6.0))
    with pytest.raises(ParameterError, match="does not reach beyond a voxel"):
        SphericalDifference(Grid(mask.shape, (1, 1, 4)), mask, (1.5,))
    with pytest.raises(ParameterError, match="positive radii"):
        SphericalDifference(Grid(mask.shape), mask, (0.0, 3.0))


def test_balls_wider_than_the_mask_cost_nothing():
    """A mouse in voxels of 0.1 mm: balls of up to 12 mm took a grid of 300 voxels along each axis, for no voxel."""
    grid = Grid((40, 36, 32), (0.1, 0.1, 0.1), (0, 0, 1))
    x, y, z = np.meshgrid(*[np.arange(n) - n / 2 for n in grid.shape], indexing="ij")
    mask = x**2 + y**2 + z**2 < 14**2
    operator = SphericalDifference(grid, mask, (12.0, 7.0, 2.0, 0.5))
    alone = SphericalDifference(grid, mask, (0.5,))
    assert operator.radii_mm == [0.5]
    assert operator.kernels[0].size == alone.kernels[0].size
    image = np.where(mask, np.cos(x) + y * z, 0).astype(np.float32)
    np.testing.assert_allclose(operator.forward(image), alone.forward(image), rtol=1e-6)
    for radii in ((12.0, 2.0), (2.0,)):
        with pytest.raises(ParameterError, match="no ball of 2 mm fits in the mask"):
            SphericalDifference(grid, mask, radii)
    with pytest.raises(ParameterError, match="no ball of 2 mm fits in the mask"):
        SphericalDifference(grid, np.zeros_like(mask), (2.0,))
