"""The l1 fidelities: they reach the minimum, ignore outliers, and behave in the limits."""

import numpy as np
import pytest
from oracles import relative_error
from oracles.cases import SmallCase
from oracles.cases import periodic_solver as make_solver
from oracles.distance import assert_distance_is_told
from oracles.variational import admm, smoothed_minimum

from qsm_recon.units import rad_per_ppm

ALPHA = 0.1
FIDELITY = {"wl1": "l1", "l1qsm": "nonlinear-l1"}
LONG = {"tolerance": 0.0, "residual_tolerance": 0.0, "max_iterations": 2000, "precision": "double"}
TIGHT = {"tolerance": 1e-5, "max_iterations": 1500}


@pytest.fixture(scope="module")
def case():
    return SmallCase()


@pytest.mark.parametrize("name", FIDELITY)
def test_public_solver_is_the_oracle_in_ppm(case, name):
    model, scale = case.model(ALPHA, FIDELITY[name]), case.scale(FIDELITY[name])
    mu1, mu2 = 5.0 / scale, 60.0 / scale
    expected = admm(model, 30, mu1, 1.0, mu2, 1.0, 1.3)[-1]
    settings = {"max_iterations": 30, "tolerance": 0.0, "precision": "double", "regularisation_weight": ALPHA}
    settings |= {"gradient_penalty": mu1, "field_penalty": mu2, "relaxation": 1.3}
    if FIDELITY[name].startswith("nonlinear"):
        settings["convex_iterations"] = 0
    result = make_solver(name, **settings).solve(case.problem())
    assert relative_error(result.susceptibility_ppm, np.where(case.mask, expected[0] / scale, 0)) < 1e-6
    assert result.history["objective"][-1] == pytest.approx(model.objective(expected) / scale, rel=1e-6)


@pytest.mark.parametrize("name", FIDELITY)
def test_reaches_the_minimum_at_default_settings(case, name):
    result = make_solver(name, regularisation_weight=ALPHA).solve(case.problem())
    long = make_solver(name, regularisation_weight=ALPHA, **LONG).solve(case.problem())
    objective = long.history["objective"]
    assert objective[len(objective) // 2] < 1.0003 * objective[-1], "the long run has not come to its end"
    assert result.converged
    assert result.history["objective"][-1] < 1.01 * objective[-1]
    assert_distance_is_told(result, long.susceptibility_ppm)


def test_long_run_is_within_the_bounds_of_an_independent_minimiser():
    case = SmallCase((8, 9, 6))
    low, high = smoothed_minimum(case.model(ALPHA, "l1"), 1e-5, 500)
    long = make_solver("wl1", regularisation_weight=ALPHA, **LONG).solve(case.problem())
    assert low < long.history["objective"][-1] < high < 1.005 * low


def change(case, name, field, **settings):
    """Relative change of the map when the field is replaced."""
    solver = make_solver(name, **settings, **TIGHT)
    before, after = (solver.solve(case.problem(field_ppm=values)).susceptibility_ppm for values in (case.field, field))
    return relative_error(after, before)


def test_outliers_are_ignored_which_a_quadratic_fidelity_cannot(case):
    outliers = np.random.default_rng(1).random(case.shape) < 0.02
    field = np.where(outliers, case.field + 0.3, case.field)
    assert change(case, "wl1", field, regularisation_weight=ALPHA) < 0.1
    assert change(case, "tv", field, regularisation_weight=5e-4) > 0.5


def test_whole_turns_of_phase_do_not_matter_to_the_nonlinear_fidelity(case):
    wraps = np.random.default_rng(1).random(case.shape) < 0.02
    field = np.where(wraps, case.field + 2 * np.pi / rad_per_ppm(3.0, 0.020), case.field)
    assert change(case, "l1qsm", field, regularisation_weight=ALPHA) < 0.03


def test_whole_turns_are_as_if_they_were_not(case):
    """The recorded objective at the end, too: a wrapped voxel that is recognised costs nothing."""
    wraps = np.random.default_rng(2).random(case.shape) < 0.02
    turn = 2 * np.pi / rad_per_ppm(3.0, 0.020)
    solver = make_solver("l1qsm", regularisation_weight=ALPHA, **TIGHT)
    plain, wrapped = (
        solver.solve(case.problem(field_ppm=np.where(wraps, case.field + n * turn, case.field))).history["objective"]
        for n in (0, -2)
    )
    assert wrapped[-1] == pytest.approx(plain[-1], rel=0.01)


def test_nonlinear_with_a_tiny_phase_is_linear(case):
    problem = case.problem(b0_tesla=0.05, echo_times_s=(1e-4,))
    settings = {"regularisation_weight": ALPHA, "relaxation": 1.6, "max_iterations": 60, "tolerance": 0.0}
    linear, nonlinear = (make_solver(name, **settings).solve(problem).susceptibility_ppm for name in FIDELITY)
    assert relative_error(nonlinear, linear) < 1e-4


@pytest.mark.parametrize("name", FIDELITY)
def test_strong_regularisation_gives_zero(case, name):
    strong = make_solver(name, regularisation_weight=100.0, **TIGHT).solve(case.problem()).susceptibility_ppm
    usual = make_solver(name, regularisation_weight=ALPHA).solve(case.problem()).susceptibility_ppm
    assert np.linalg.norm(strong) < 1e-3 * np.linalg.norm(usual)
