"""Two passes: voxels that cannot be trusted spoil no others, and are filled from the first pass."""

import numpy as np
import pytest

from qsm_recon.errors import DataError, ParameterError
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.solvers.registry import make_solver
from qsm_recon.solvers.two_pass import reliable_mask, solve_in_two_passes

SHAPE = (30, 28, 26)
X, Y, Z = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
MASK = X**2 + Y**2 + Z**2 < 0.8
BAD = (X - 0.2) ** 2 + Y**2 + Z**2 < 0.03


@pytest.fixture(scope="module")
def case():
    """Three balls, and a place where field and phase are rubbish."""
    rng = np.random.default_rng(0)
    truth = np.zeros(SHAPE)
    for centre, value in (((-0.4, 0, 0), 0.15), ((0.2, 0.5, 0), -0.1), ((0, -0.3, 0.4), 0.1)):
        truth[(X - centre[0]) ** 2 + (Y - centre[1]) ** 2 + (Z - centre[2]) ** 2 < 0.04] = value
    grid = Grid(SHAPE)
    field = DipoleOperator(grid, dtype=np.float64, padding=24).forward(truth) + 0.001 * rng.standard_normal(SHAPE)
    spoilt = np.where(BAD, rng.uniform(-0.5, 0.5, SHAPE), field)
    phase = np.where(BAD, rng.uniform(-3, 3, SHAPE), 20 * field + 0.02 * rng.standard_normal(SHAPE))
    magnitude = np.where(MASK, 1.0, 0.01)
    known = {
        "field_ppm": np.where(MASK, spoilt, 0).astype(np.float32), "mask": MASK, "grid": grid,
        "magnitude": magnitude, "echoes": (magnitude * np.exp(1j * phase))[..., None].astype(np.complex64),
        "b0_tesla": 3.0, "echo_times_s": (0.025,),
    }  # fmt: skip
    return known, np.where(MASK, truth, 0)


def error(found, truth, where):
    return np.linalg.norm((found - found[where].mean() - truth + truth[where].mean())[where]) / np.linalg.norm(truth)


def test_unreliable_voxels_are_found_by_their_phase(case):
    known, _ = case
    reliable = reliable_mask(Problem(**known))
    assert np.count_nonzero(reliable & BAD) < 0.1 * np.count_nonzero(BAD)
    assert np.count_nonzero(MASK & ~reliable & ~BAD) < 4 * np.count_nonzero(BAD)  # it and the voxels around it
    assert not reliable[~MASK].any()


@pytest.mark.parametrize(
    "image",
    [
        {"magnitude": np.where(BAD, 0.05, 1.0)},
        {"field_noise_ppm": np.where(BAD, 0.1, 0.001)},
        {"reliability": np.where(BAD, 0.2, 1.0)},
    ],
)
def test_or_by_magnitude_noise_or_reliability(case, image):
    known, _ = case
    plain = {name: known[name] for name in ("field_ppm", "mask", "grid")}
    plain |= {"magnitude": np.ones(SHAPE)} | image
    np.testing.assert_array_equal(reliable_mask(Problem(**plain)), MASK & ~BAD)


@pytest.mark.parametrize("name", ["tv", "medi", "tkd"])
def test_what_is_rubbish_in_one_place_does_no_harm_elsewhere(case, name):
    known, truth = case
    problem, solver = Problem(**known), make_solver(name)
    one, two = solver.solve(problem), solve_in_two_passes(solver, problem)
    good = reliable_mask(problem)
    assert error(two.susceptibility_ppm, truth, good) < 0.8 * error(one.susceptibility_ppm, truth, good)
    alone = solver.solve(Problem(**{**known, "mask": good})).susceptibility_ppm
    np.testing.assert_array_equal(two.susceptibility_ppm[good], alone[good])
    holes = MASK & ~good
    shift = two.details["two_pass"]["shift_ppm"]
    np.testing.assert_allclose(two.susceptibility_ppm[holes], one.susceptibility_ppm[holes] + shift, atol=1e-6)
    np.testing.assert_array_equal(two.mask, MASK)
    assert two.details["two_pass"]["unreliable_voxels"] == holes.sum()
    np.testing.assert_array_equal(two.images["reliable_mask"], good)
    assert not two.susceptibility_ppm[~MASK].any()


def test_where_all_is_well_one_pass_is_enough(case):
    known, _ = case
    problem = Problem(**{**known, "echoes": None})
    one, two = (f(problem) for f in (make_solver("tkd").solve, lambda p: solve_in_two_passes(make_solver("tkd"), p)))
    np.testing.assert_array_equal(one.susceptibility_ppm, two.susceptibility_ppm)
    assert two.details["two_pass"] == {"unreliable_voxels": 0}


def test_a_field_alone_tells_nothing_and_something_must_be_left(case):
    known, _ = case
    with pytest.raises(ParameterError, match="--magnitude"):
        reliable_mask(Problem(known["field_ppm"], MASK, known["grid"]))
    noise = np.exp(1j * np.random.default_rng(0).uniform(-3, 3, (*SHAPE, 1)))
    with pytest.raises(DataError, match="no voxel"):
        reliable_mask(Problem(known["field_ppm"], MASK, known["grid"], echoes=noise, echo_times_s=(0.02,)))


def test_it_has_converged_where_both_passes_have(case):
    known, _ = case
    result = solve_in_two_passes(make_solver("tv", max_iterations=2), Problem(**known))
    assert not result.converged
    assert "first pass" in result.stop_reason
