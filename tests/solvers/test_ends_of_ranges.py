"""Parameters at both ends of their declared range: never a NaN, never "converged" on rubbish."""

import sys
from functools import cache

import numpy as np
import pytest
from oracles import relative_error
from oracles.own import own_solvers

from qsm_recon.errors import ParameterError
from qsm_recon.solvers import registry
from qsm_recon.units import rad_per_ppm

NAMES = sorted(name for name, solver in own_solvers().items() if not solver.missing())
TIMES = (0.005, 0.012, 0.020)
ITERATIONS = 400
"""At most; what has not converged by then says so."""
PADDING = 16
"""Instead of the 512 voxels that may be given: 4 GiB for an image of 15 voxels."""

# They change the way to the minimum and not the minimum itself, so that what converged is near the usual map.
WAYS = {
    "tolerance", "residual_tolerance", "update_tolerance", "gradient_penalty", "field_penalty", "relaxation",
    "harmonic_penalty", "convex_iterations", "linear_iterations", "field_iterations", "max_iterations",
    "cg_iterations", "cg_tolerance", "first_gradient_penalty", "first_field_penalty", "step",
}  # fmt: skip
LOOSE = 0.45
"""Relative deviation from the usual map that the loosest tolerances leave."""
PLAUSIBLE_PPM = 3.0
"""Largest value, without the map's mean, that any functional gives of a field of 0.1 ppm; the truth has 0.15."""


def ends():
    """All ends of all numbers that all solvers declare."""
    for name in NAMES:
        for declared in registry.find_solver(name).declared().values():
            if declared.kind in (float, int):
                for word, end in (("low", declared.low), ("high", declared.high)):
                    if end is not None:
                        yield name, declared.name, word, declared.kind(end)


ENDS = list(ends())
FAST = {
    "tv": WAYS,
    "wh-qsm": {"harmonic_penalty"},
    "wl1": {"field_penalty"},
    "medi": WAYS,
    "ndi": WAYS,
    "tkd": {"threshold"},
}


@pytest.fixture(scope="module")
def problem(synthetic):
    signal = [np.exp(-20 * t) * np.exp(1j * rad_per_ppm(3.0, t) * synthetic.field) for t in TIMES]
    echoes = np.stack([synthetic.magnitude * one for one in signal], axis=-1).astype(np.complex64)
    return synthetic.problem(echoes=echoes, echo_times_s=TIMES)


@pytest.fixture(scope="module")
def usual(problem):
    return cache(lambda name: registry.make_solver(name).solve(problem).susceptibility_ppm)


def without_mean(image, mask):
    return np.where(mask, image - image[mask].mean(), 0)


def judge(name, parameter, value, problem, usual):
    settings = {parameter: min(value, PADDING) if "padding" in parameter else value}
    if "max_iterations" in registry.find_solver(name).declared() and parameter != "max_iterations":
        settings["max_iterations"] = ITERATIONS if "relaxation" in registry.find_solver(name).declared() else 16
    try:
        result = registry.make_solver(name, **settings).solve(problem)
    except ParameterError as error:  # a clear refusal
        return "refused" if parameter in str(error) or f"{value:g}" in str(error) else f"refused: {error}"
    chi = without_mean(result.susceptibility_ppm, problem.mask)
    assert np.isfinite(chi).all()
    assert np.abs(chi).max() < PLAUSIBLE_PPM or not result.converged
    for key, values in result.history.items():
        assert np.isfinite(values).all() or not result.converged, key
    if result.converged and parameter in WAYS:
        assert relative_error(chi, without_mean(usual(name), problem.mask)) < LOOSE
    return "converged" if result.converged else "said that it did not converge"


def is_fast(name, parameter):
    return parameter in FAST.get(name, ())


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [pytest.param(n, p, v, id=f"{n}-{p}-{w}") for n, p, w, v in ENDS if is_fast(n, p)],
)
def test_end_of_a_range(name, parameter, value, problem, usual):
    assert judge(name, parameter, value, problem, usual)


@pytest.mark.slow
def test_all_ends_of_all_ranges(problem, usual, counts):
    found, failures = {}, []
    for name, parameter, word, value in ENDS:
        try:
            outcome = judge(name, parameter, value, problem, usual)
        except AssertionError as error:
            failures.append(f"{name} {parameter}={value:g} ({word}): {str(error).splitlines()[0]}")
            continue
        found[outcome] = found.get(outcome, 0) + 1
    for failure in failures:
        print(failure, file=sys.stderr)  # noqa: T201
    assert not failures
    counts("parameters at both ends of their range", len(ENDS), found)
