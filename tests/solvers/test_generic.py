"""The generic solver, its presets, and what every method on the engine must withstand."""

import itertools

import numpy as np
import pytest
from oracles.cases import SmallCase

from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.solvers.registry import find_solver, make_solver
from qsm_recon.terms.registry import fidelity_names

PRESETS = {
    "tv": {},
    "fansi": {"fidelity": "nonlinear"},
    "tgv": {"regulariser": "tgv"},
    "fansi-tgv": {"fidelity": "nonlinear", "regulariser": "tgv"},
    "wl1": {"fidelity": "l1"},
    "l1qsm": {"fidelity": "nonlinear-l1"},
    "wh-qsm": {"harmonic_weight": 150.0},
    "wh-nlqsm": {"fidelity": "nonlinear", "harmonic_weight": 150.0},
}
COMPOSITIONS = list(itertools.product(fidelity_names(), ("tv", "tgv"), (0.0, 150.0)))


@pytest.fixture(scope="module")
def case():
    return SmallCase()


@pytest.mark.parametrize("name", PRESETS)
def test_named_method_is_a_preset(case, name):
    settings = {"max_iterations": 40, "tolerance": 0.0, "regularisation_weight": 0.05 if "l1" in name else 5e-4}
    if "convex_iterations" in find_solver("admm").declared():
        settings |= {"convex_iterations": 3} if "convex_iterations" in find_solver(name).declared() else {}
    own = {"harmonic_weight": 150.0} if "wh" in name else {}
    named = make_solver(name, **settings, **own).solve(case.problem())
    generic = make_solver("admm", **settings, **PRESETS[name]).solve(case.problem())
    assert np.array_equal(named.susceptibility_ppm, generic.susceptibility_ppm)
    assert named.history == generic.history
    assert named.images.keys() == generic.images.keys()


@pytest.mark.parametrize(("fidelity", "regulariser", "beta"), COMPOSITIONS)
def test_every_composition_recovers_the_blocks(case, fidelity, regulariser, beta):
    alpha = 0.05 if fidelity.endswith("l1") else 3e-4
    settings = {"fidelity": fidelity, "regulariser": regulariser, "harmonic_weight": beta, "harmonic_penalty": 0.1}
    result = make_solver("admm", regularisation_weight=alpha, **settings).solve(case.problem())
    truth, found = case.truth[case.mask], result.susceptibility_ppm[case.mask]
    assert np.corrcoef(truth, found)[0, 1] > 0.8
    objective = result.history["objective"]
    assert objective[-1] < objective[5]
    assert ("background_field_ppm" in result.images) == (beta > 0)


# ---- robustness ----


def single_voxel(case):
    mask = np.zeros(case.shape, bool)
    mask[tuple(n // 2 for n in case.shape)] = True
    return {"mask": mask, "magnitude": np.ones(case.shape)}


def one_weight(case):
    magnitude = np.zeros(case.shape)
    magnitude[tuple(n // 2 for n in case.shape)] = 1
    return {"magnitude": magnitude}


def unequal_weights(case):
    magnitude = case.magnitude.copy()
    magnitude[tuple(n // 2 for n in case.shape)] = 1e6
    return {"magnitude": magnitude}


def outliers(case):
    few = np.random.default_rng(0).random(case.shape) < 0.03
    return {"field_ppm": np.where(few, 100 * np.abs(case.field).max(), case.field)}


def huge_field(case):
    return {"field_ppm": 1e4 * case.field}


def tiny_field(case):
    return {"field_ppm": 1e-8 * case.field}


def constant_field(case):
    return {"field_ppm": np.full(case.shape, 0.3)}


def half_of_no_magnitude(case):
    magnitude = case.magnitude.copy()
    magnitude[: case.shape[0] // 2] = 0
    return {"magnitude": magnitude}


def infinite_outside(case):
    return {"field_ppm": np.where(case.mask, case.field, np.nan)}


HARD = (
    single_voxel, one_weight, unequal_weights, outliers, huge_field, tiny_field, constant_field,
    half_of_no_magnitude, infinite_outside,
)  # fmt: skip
EVERY = [*PRESETS, "wl1l2", "ndi", "rts"]


@pytest.mark.parametrize("make_hard", HARD)
@pytest.mark.parametrize("name", EVERY)
def test_result_is_finite_whatever_the_data(case, name, make_hard):
    settings = {"max_iterations": 60}
    result = make_solver(name, **settings).solve(case.problem(**make_hard(case)))
    assert np.isfinite(result.susceptibility_ppm).all()
    for key, values in result.history.items():
        assert np.isfinite(values).all(), key
    for image in result.images.values():
        assert np.isfinite(image).all()
    assert "not finite" not in result.stop_reason


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("shape", [(1, 9, 8), (5, 1, 6), (6, 5, 1), (2, 2, 2)])
def test_flat_and_tiny_grids(name, shape):
    rng = np.random.default_rng(0)
    field = 0.1 * rng.standard_normal(shape)
    problem = Problem(field, np.ones(shape, bool), Grid(shape), b0_tesla=3.0, echo_times_s=(0.02,))
    result = make_solver(name, max_iterations=30).solve(problem)
    assert np.isfinite(result.susceptibility_ppm).all()


@pytest.mark.parametrize("name", ["admm", *EVERY])
@pytest.mark.parametrize("extreme", ["low", "high"])
def test_extreme_weights_of_the_regulariser(case, name, extreme):
    value = getattr(find_solver(name).main_parameter(), extreme)
    result = make_solver(name, max_iterations=30).with_regularisation(value).solve(case.problem())
    assert np.isfinite(result.susceptibility_ppm).all()
    assert all(np.isfinite(values).all() for values in result.history.values())
