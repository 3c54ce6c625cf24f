"""The constant of a field: that of its true sources is none, whatever the mask and the mean of the susceptibility."""

import numpy as np
import pytest

from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.solvers.constant_field import constant_of_field, without_constant

SHAPE = (48, 44, 40)
X, Y, Z = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
BALL = X**2 + Y**2 + Z**2 < 0.6
BELL = ((X**2 + Y**2 < 0.5) & (Z < 0)) | (X**2 + Y**2 + Z**2 < 0.7)


def case(mask, mean, *, seed=0):
    """Field of random sources in the mask, with a mean susceptibility, far from its periodic copies."""
    rng = np.random.default_rng(seed)
    chi = np.zeros(SHAPE)
    for _ in range(20):
        centre = rng.uniform(-0.5, 0.5, 3)
        chi[(X - centre[0]) ** 2 + (Y - centre[1]) ** 2 + (Z - centre[2]) ** 2 < 0.01] += rng.normal(0, 0.1)
    chi = np.where(mask, chi - chi[mask].mean() + mean, 0)
    grid = Grid(SHAPE, (1.0, 1.1, 1.2))
    return Problem(DipoleOperator(grid, dtype=np.float64, padding=48).forward(chi), mask, grid)


@pytest.mark.parametrize("mask", [BALL, BELL], ids=["ball", "bell"])
@pytest.mark.parametrize("mean", [0.0, 0.02, -0.02])
def test_sources_alone_have_next_to_none(mask, mean):
    problem = case(mask, mean)
    spread = float(problem.field_ppm[mask].std())
    assert abs(constant_of_field(problem)) < 0.1 * spread
    if mean and mask is BELL:  # where the mean of the field is no good
        assert abs(constant_of_field(problem)) < 0.5 * abs(problem.field_ppm[mask].mean())


@pytest.mark.parametrize("constant", [0.05, -3.0])
def test_a_constant_is_found_whatever_else_there_is(constant):
    problem = case(BELL, 0.01)
    shifted = Problem(problem.field_ppm + constant, problem.mask, problem.grid)
    assert constant_of_field(shifted) - constant_of_field(problem) == pytest.approx(constant, rel=1e-9)
    np.testing.assert_allclose(without_constant(shifted).field_ppm, without_constant(problem).field_ppm, atol=1e-12)
    assert without_constant(shifted).field_offset_ppm == constant_of_field(shifted)
    assert abs(constant_of_field(without_constant(shifted))) < 1e-12


def test_wraps_and_voxels_without_weight_have_no_say():
    problem = case(BELL, 0.01)
    rng = np.random.default_rng(1)
    wrapped = problem.field_ppm + 0.4 * (rng.random(SHAPE) < 0.02)
    spread = float(problem.field_ppm[BELL].std())
    one = constant_of_field(problem)
    assert constant_of_field(Problem(wrapped, BELL, problem.grid)) == pytest.approx(one, abs=0.02 * spread)
    dark = BELL & (Z > 0.3)
    magnitude = np.where(dark, 0.0, 1.0)
    spoilt = Problem(np.where(dark, 0.01, problem.field_ppm), BELL, problem.grid, magnitude=magnitude)
    known = Problem(problem.field_ppm, BELL, problem.grid, magnitude=magnitude)
    assert constant_of_field(spoilt) == constant_of_field(known)


def test_a_flat_field_is_its_constant():
    problem = Problem(np.full(SHAPE, 0.3), BALL, Grid(SHAPE))
    assert constant_of_field(problem) == pytest.approx(0.3)
    single = np.zeros(SHAPE, bool)
    single[20, 20, 20] = True
    assert constant_of_field(Problem(np.full(SHAPE, 0.3), single, Grid(SHAPE))) == pytest.approx(0.3)
