"""What the noise of a field alone would have as fidelity."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from qsm_recon.select.misfit import NoiseMisfit
from qsm_recon.select.path import Path
from qsm_recon.solvers.registry import make_solver

NO_DETAILS = SimpleNamespace(details={})


@pytest.mark.parametrize("name", ["tv", "fansi", "medi", "tikhonov"])
def test_squares_of_the_noise_add_up(name, small):
    solver = make_solver(name, **({"weighting": "mask"} if name != "tikhonov" else {}))
    noise = small.problem.field_noise_ppm[small.mask].astype(float)
    misfit = NoiseMisfit(small.problem)
    assert misfit.noise_measured
    assert misfit.of_noise(solver, NO_DETAILS) == pytest.approx(0.5 * np.sum(noise**2), rel=1e-4)


@pytest.mark.parametrize("name", ["wl1", "l1qsm"])
def test_absolute_values_of_the_noise_add_up(name, small):
    noise = small.problem.field_noise_ppm[small.mask].astype(float)
    expected = np.sqrt(2 / np.pi) * noise.sum()
    solver = make_solver(name, weighting="mask")
    assert NoiseMisfit(small.problem).of_noise(solver, NO_DETAILS) == pytest.approx(expected, rel=1e-4)


def test_weights_that_a_method_ended_with_count(small):
    solver = make_solver("wl1l2", max_iterations=2, first_iterations=2)
    result = solver.solve(small.problem)
    misfit = NoiseMisfit(small.problem)
    assert result.details["noise_fidelity"] < misfit.of_noise(make_solver("tv"), NO_DETAILS)
    assert misfit.of_noise(solver, result) == result.details["noise_fidelity"]


def test_noise_is_estimated_where_there_is_no_map_of_it(small):
    misfit = NoiseMisfit(replace(small.problem, field_noise_ppm=None))
    assert not misfit.noise_measured
    measured = NoiseMisfit(small.problem).of_noise(make_solver("tv"), NO_DETAILS)
    assert 0.3 < misfit.of_noise(make_solver("tv"), NO_DETAILS) / measured < 3


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_of_a_field_without_detail_nothing_is_said(level, small):
    field = np.where(small.mask, np.float32(level), 0)
    misfit = NoiseMisfit(replace(small.problem, field_ppm=field, field_noise_ppm=None))
    assert misfit.of_noise(make_solver("tv"), NO_DETAILS) is None


def test_what_a_method_cannot_tell_is_unknown(small):
    assert NoiseMisfit(small.problem).of_noise(make_solver("medi", merit=True), NO_DETAILS) is None


def test_parameters_that_change_the_weights_are_told_apart(small):
    misfit = NoiseMisfit(small.problem)
    known = [misfit.of_noise(make_solver("tv", weighting=weighting), NO_DETAILS) for weighting in ("mask", "magnitude")]
    assert known[0] != known[1]
    # A sweep of one that makes the noise unknowable must not go by what was known before it.
    first, second = Path(make_solver("medi", max_iterations=1), small.problem, "smv_radius").sweep([3.0, 2.0])
    assert (first.noise_cost, second.noise_cost) == (None, None)


def test_images_are_summed_once_for_a_sweep_of_the_weight(small, monkeypatch):
    solver = make_solver("tv", max_iterations=1)
    calls = []
    counted = type(solver).noise_fidelity
    monkeypatch.setattr(type(solver), "noise_fidelity", lambda self, problem: calls.append(1) or counted(self, problem))
    points = list(Path(solver, small.problem).sweep([1e-3, 5e-4, 2e-4]))
    assert len({point.noise_cost for point in points}) == 1
    assert len(calls) == 1
