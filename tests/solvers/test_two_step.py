"""The two-step method: its minimum, its parameters, and what it keeps."""

import numpy as np
import pytest
from oracles import relative_error
from oracles.cases import VOXEL_SIZE, SmallCase
from oracles.cases import periodic_solver as make_solver
from oracles.descent import known_frequency_admm, known_frequency_objective, krylov_least_squares
from oracles.distance import assert_distance_is_told
from oracles.fields import difference_symbols


@pytest.fixture(scope="module")
def case():
    return SmallCase((15, 12, 10))


def first_step(case, iterations=4):
    found = krylov_least_squares(case.kernel, np.where(case.mask, case.field, 0), iterations)
    return np.where(case.mask, found, 0)


def symbols(case):
    return np.stack(difference_symbols(case.shape, VOXEL_SIZE))


def test_public_solver_is_the_oracle(case):
    alpha, penalty, threshold = 2e-3, 0.3, 0.2
    known = first_step(case, 3)
    expected = known_frequency_admm(case.kernel, symbols(case), known, threshold, alpha, penalty, 25, 1.4)[-1]
    settings = {"regularisation_weight": alpha, "gradient_penalty": penalty, "threshold": threshold}
    settings |= {"least_squares_iterations": 3, "relaxation": 1.4, "max_iterations": 25, "tolerance": 0.0}
    result = make_solver("rts", precision="double", **settings).solve(case.problem())
    assert relative_error(result.susceptibility_ppm, np.where(case.mask, expected, 0)) < 1e-6
    objective = known_frequency_objective(case.kernel, symbols(case), known, threshold, alpha, expected)
    assert result.history["objective"][-1] == pytest.approx(objective, rel=1e-6)


@pytest.mark.parametrize("alpha", [1e-5, 1e-3, 1e-2])
def test_reaches_the_minimum_at_default_settings(case, alpha):
    known = first_step(case)
    long = known_frequency_admm(case.kernel, symbols(case), known, 0.15, alpha, 20 * alpha, 1500, 1.8)
    values = [known_frequency_objective(case.kernel, symbols(case), known, 0.15, alpha, long[n]) for n in (749, -1)]
    assert values[0] < 1.0001 * values[1], "the long run has not come to its end"
    result = make_solver("rts", regularisation_weight=alpha).solve(case.problem())
    assert result.converged
    assert result.iterations > 20
    assert result.history["objective"][-1] < 1.005 * values[1]
    assert_distance_is_told(result, np.where(case.mask, long[-1], 0))


def test_every_parameter_matters(case):
    usual = make_solver("rts").solve(case.problem()).susceptibility_ppm
    for change in (
        {"regularisation_weight": 5e-3},
        {"threshold": 0.25},
        {"least_squares_iterations": 12},
        {"gradient": "unit-voxel"},
        {"kernel": "discrete"},
        {"padding": 4},
    ):
        assert relative_error(make_solver("rts", **change).solve(case.problem()).susceptibility_ppm, usual) > 0.01


def test_settled_frequencies_are_kept(case):
    problem = case.problem(mask=np.ones(case.shape, bool))
    result = make_solver("rts", regularisation_weight=1e-7, precision="double").solve(problem)
    known = krylov_least_squares(case.kernel, case.field, 4)
    found, expected = np.fft.fftn(result.susceptibility_ppm), np.fft.fftn(known)
    settled = np.abs(case.kernel) > 0.15
    assert relative_error(np.abs(found - expected)[settled] + 1, np.ones(settled.sum())) < 1e-3
    # Total variation fills in what least squares hardly sees.
    assert np.linalg.norm((found - expected)[~settled]) > 0.1 * np.linalg.norm(expected[~settled])


def test_strong_regularisation_gives_zero(case):
    result = make_solver("rts", regularisation_weight=10.0, max_iterations=2000).solve(case.problem())
    assert np.abs(result.susceptibility_ppm).max() < 1e-3 * np.abs(case.truth).max()


def test_start_does_not_matter_to_the_end(case):
    settings = {"tolerance": 1e-7, "residual_tolerance": 1e-3, "max_iterations": 3000}
    solver = make_solver("rts", **settings)
    one, other = (
        solver.solve(case.problem(), start_ppm=start).susceptibility_ppm for start in (None, 0.1 * case.magnitude)
    )
    assert relative_error(other, one) < 0.01
