"""What a good map should leave of a field's errors."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from qsm_recon.select.misfit import ABSOLUTE_FIT, MODEL_ERROR, QUADRATIC_FIT, ExpectedMisfit
from qsm_recon.select.path import Path
from qsm_recon.solvers.constant_field import constant_of_field
from qsm_recon.solvers.registry import make_solver

NO_DETAILS = SimpleNamespace(details={})


def in_mask(small):
    """Noise and field of the measurement in its mask."""
    return small.problem.field_noise_ppm[small.mask].astype(float), small.problem.field_ppm[small.mask].astype(float)


@pytest.mark.parametrize("name", ["tv", "fansi", "medi", "tikhonov"])
def test_noise_and_model_error_count_as_independent(name, small):
    solver = make_solver(name, **({"weighting": "mask"} if name != "tikhonov" else {}))
    noise, field = in_mask(small)
    misfit = ExpectedMisfit(small.problem)
    assert misfit.of_noise(solver, NO_DETAILS) == pytest.approx(0.5 * np.sum(noise**2), rel=1e-4)
    expected = QUADRATIC_FIT * 0.5 * (np.sum(noise**2) + MODEL_ERROR**2 * np.sum(field**2))
    assert misfit.of_noise_and_model(solver, NO_DETAILS) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["wl1", "l1qsm"])
def test_absolute_deviations_are_fitted_closer(name, small):
    solver = make_solver(name, weighting="mask")
    noise, field = in_mask(small)
    expected = ABSOLUTE_FIT * np.sqrt(2 / np.pi) * np.hypot(noise, MODEL_ERROR * field).sum()
    assert ExpectedMisfit(small.problem).of_noise_and_model(solver, NO_DETAILS) == pytest.approx(expected, rel=1e-4)


def test_weights_that_a_method_ended_with_count_for_both(small):
    solver = make_solver("wl1l2", max_iterations=2, first_iterations=2)
    result = solver.solve(small.problem)
    misfit, plain = ExpectedMisfit(small.problem), make_solver("tv")
    reduction = result.details["noise_fidelity"] / misfit.of_noise(plain, NO_DETAILS)
    assert reduction < 1
    assert misfit.of_noise(solver, result) == result.details["noise_fidelity"]
    whole = misfit.of_noise_and_model(plain, NO_DETAILS)
    assert misfit.of_noise_and_model(solver, result) == pytest.approx(reduction * whole, rel=1e-6)


@pytest.mark.parametrize(("name", "part"), [("tv", QUADRATIC_FIT), ("wl1", ABSOLUTE_FIT)])
def test_noise_that_is_estimated_holds_the_model_error_already(name, part, small):
    solver = make_solver(name, weighting="mask")
    problem = replace(small.problem, field_noise_ppm=None)
    misfit = ExpectedMisfit(problem)
    assert misfit.of_noise_and_model(solver, NO_DETAILS) == part * misfit.of_noise(solver, NO_DETAILS)
    ramp = np.linspace(-5, 5, small.mask.shape[2], dtype=np.float32)  # no fine detail that would be taken for noise
    # In a strong field the model's error outweighs any noise.
    strong = replace(problem, field_ppm=np.where(small.mask, ramp + problem.field_ppm, 0))
    errors = MODEL_ERROR * np.abs(strong.field_ppm - constant_of_field(strong))[small.mask].astype(float)
    model = 0.5 * np.sum(errors**2) if name == "tv" else np.sqrt(2 / np.pi) * np.sum(errors)
    assert ExpectedMisfit(strong).of_noise_and_model(solver, NO_DETAILS) == pytest.approx(part * model, rel=1e-4)


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_of_a_field_without_detail_nothing_is_said(level, small):
    field = np.where(small.mask, np.float32(level), 0)
    misfit = ExpectedMisfit(replace(small.problem, field_ppm=field, field_noise_ppm=None))
    assert misfit.of_noise(make_solver("tv"), NO_DETAILS) is None
    assert misfit.of_noise_and_model(make_solver("tv"), NO_DETAILS) is None


def test_what_a_method_cannot_tell_is_unknown(small):
    assert ExpectedMisfit(small.problem).of_noise_and_model(make_solver("medi", merit=True), NO_DETAILS) is None


def test_parameters_that_change_the_weights_are_told_apart(small):
    misfit = ExpectedMisfit(small.problem)
    known = [misfit.of_noise(make_solver("tv", weighting=weighting), NO_DETAILS) for weighting in ("mask", "magnitude")]
    assert known[0] != known[1]
    # A sweep of one that makes the noise unknowable must not go by what was known before it.
    solver = make_solver("medi", max_iterations=1)
    first, second = Path(solver, small.problem, "smv_radius").sweep([3.0, 2.0])
    assert (first.noise_cost, second.expected_cost) == (None, None)


def test_images_are_summed_once_for_a_sweep_of_the_weight(small, monkeypatch):
    solver = make_solver("tv", max_iterations=1)
    calls = []
    counted = type(solver).noise_fidelity
    monkeypatch.setattr(type(solver), "noise_fidelity", lambda self, problem: calls.append(1) or counted(self, problem))
    points = list(Path(solver, small.problem).sweep([1e-3, 5e-4, 2e-4]))
    assert len({point.expected_cost for point in points}) == 1
    assert len(calls) == 4
