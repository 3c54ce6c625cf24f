"""Nonlinear dipole inversion: units, limits, and early stopping."""

import numpy as np
import pytest
from oracles import relative_error
from oracles.cases import SmallCase, centred
from oracles.cases import periodic_solver as make_solver
from oracles.descent import Inversion, conjugate_gradient, gradient_descent
from oracles.fields import filtered

from qsm_recon.units import rad_per_ppm

METHODS = ["conjugate-gradient", "gradient"]
FREE = {"automatic_stop": False, "update_tolerance": 0.0}


@pytest.fixture(scope="module")
def case():
    return SmallCase((16, 15, 12))


@pytest.mark.parametrize("method", METHODS)
def test_public_solver_is_the_oracle_in_ppm(case, method):
    field, weight = (np.where(case.mask, image, 0) for image in (case.field, case.magnitude))
    weight = weight / weight.max()
    model = Inversion(case.kernel, field, weight, rad_per_ppm(3.0, 0.020), 1e-3)
    start = np.zeros(case.shape)
    if method == "gradient":
        expected = gradient_descent(model, start, 20, 1.5 / (1 + 2.25e-3))
    else:
        expected = conjugate_gradient(model, start, 20)
    settings = {"method": method, "step": 1.5, "regularisation_weight": 1e-3, "max_iterations": 20}
    result = make_solver("ndi", precision="double", **settings, **FREE).solve(case.problem())
    assert relative_error(result.susceptibility_ppm, np.where(case.mask, expected[-1], 0)) < 1e-6
    assert result.history["objective"][-1] == pytest.approx(model.objective(expected[-1]), rel=1e-6)


def test_both_methods_end_at_the_same_minimum(case):
    settings = {"regularisation_weight": 0.02, **FREE}
    results = [
        make_solver("ndi", method=method, max_iterations=n, **settings).solve(case.problem())
        for method, n in (("conjugate-gradient", 60), ("gradient", 600))
    ]
    assert relative_error(results[0].susceptibility_ppm, results[1].susceptibility_ppm) < 1e-3
    objectives = [result.history["objective"] for result in results]
    assert objectives[0][-1] == pytest.approx(objectives[1][-1], rel=1e-5)
    # Conjugate directions arrive sooner.
    assert objectives[0][20] < objectives[1][20]


def test_minimum_of_the_linear_form_is_weighted_tikhonov(case):
    """The normal equations hold at the end."""
    alpha, everywhere = 0.02, np.ones(case.shape, bool)
    field = centred(case.field, everywhere, case.problem().grid, case.magnitude)
    problem = case.problem(mask=everywhere, field_ppm=field)
    settings = {"fidelity": "linear", "precision": "double", "max_iterations": 300}
    found = make_solver("ndi", regularisation_weight=alpha, **settings, **FREE).solve(problem).susceptibility_ppm
    found = found.astype(np.float64)
    squared = np.square(case.magnitude / case.magnitude.max())
    right = filtered(case.kernel, squared * field).real
    left = filtered(case.kernel, squared * filtered(case.kernel, found).real).real + alpha * found
    assert relative_error(left, right) < 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_more_iterations_fit_better_and_let_the_map_grow(case, method):
    history = make_solver("ndi", method=method, max_iterations=60, **FREE).solve(case.problem()).history
    assert (np.diff(history["fidelity"]) <= 0).all()
    assert history["regularisation"][-1] > history["regularisation"][4]


def test_stops_by_itself_before_noise_takes_over(case):
    """At the automatic stop the error is near the smallest along the way, and far below that of the end."""
    rng = np.random.default_rng(1)
    problem = case.problem(field_ppm=case.field + 0.01 * rng.standard_normal(case.shape))
    errors = []

    def error(chi):
        return relative_error(chi[case.mask], case.truth[case.mask])

    for n in (3, 5, 8, 12, 20, 150):
        errors.append(error(make_solver("ndi", max_iterations=n, **FREE).solve(problem).susceptibility_ppm))
    result = make_solver("ndi").solve(problem)
    assert result.converged
    assert "cone" in result.stop_reason
    assert error(result.susceptibility_ppm) < 1.3 * min(errors)
    assert error(result.susceptibility_ppm) < 0.7 * errors[-1]


def test_strong_regularisation_gives_zero(case):
    result = make_solver("ndi", regularisation_weight=1e3).solve(case.problem())
    assert np.abs(result.susceptibility_ppm).max() < 1e-3 * np.abs(case.truth).max()


def test_nonlinear_with_a_tiny_phase_is_linear(case):
    problem = case.problem(b0_tesla=0.05, echo_times_s=(1e-4,))
    linear, nonlinear = (
        make_solver("ndi", fidelity=fidelity, max_iterations=20, **FREE).solve(problem).susceptibility_ppm
        for fidelity in ("linear", "nonlinear")
    )
    assert relative_error(nonlinear, linear) < 1e-4


def test_whole_turns_of_phase_do_not_matter(case):
    wraps = np.random.default_rng(1).random(case.shape) < 0.1
    wrapped = np.where(wraps, case.field + 2 * np.pi / rad_per_ppm(3.0, 0.020), case.field)
    one, other = (
        make_solver("ndi", max_iterations=20, **FREE).solve(case.problem(field_ppm=values)).susceptibility_ppm
        for values in (case.field, wrapped)
    )
    # The constant of the field is that of the other voxels.  A linear fidelity changes the map several times over.
    assert relative_error(other, one) < 0.05


def test_says_when_the_update_was_small_enough(case):
    result = make_solver("ndi", automatic_stop=False, update_tolerance=0.05).solve(case.problem())
    assert result.converged
    assert "update" in result.stop_reason
    assert result.history["update"][-1] <= 0.05 < min(result.history["update"][1:-1])
