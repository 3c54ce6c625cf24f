"""The weakly harmonic background: what is harmonic returns as background, and the rest as susceptibility."""

import numpy as np
import pytest
from oracles import relative_error
from oracles.cases import VOXEL_SIZE, SmallCase
from oracles.cases import periodic_solver as make_solver
from oracles.fields import difference_symbols
from oracles.variational import admm

from qsm_recon.solvers import composition

ALPHA, BETA = 5e-4, 150.0
FIDELITY = {"wh-qsm": "quadratic", "wh-nlqsm": "nonlinear"}
TIGHT = {"max_iterations": 1500, "tolerance": 1e-5, "harmonic_penalty": 0.1}


@pytest.fixture(scope="module")
def case():
    return SmallCase()


def harmonic_field(case, size=0.05):
    """A field whose discrete Laplacian vanishes in the mask, from random sources outside; without mean in the mask."""
    sources = np.where(case.mask, 0, np.random.default_rng(3).standard_normal(case.shape))
    sources[~case.mask] -= sources[~case.mask].mean()
    symbol = sum(np.abs(e) ** 2 for e in difference_symbols(case.shape, VOXEL_SIZE))
    symbol[0, 0, 0] = np.inf
    field = np.fft.ifftn(np.fft.fftn(sources) / symbol).real
    field -= field[case.mask].mean()
    return size * field / field[case.mask].std()


@pytest.mark.parametrize("name", FIDELITY)
def test_public_solver_is_the_oracle_in_ppm(case, name):
    fidelity = FIDELITY[name]
    model, scale = case.model(1e-3, fidelity, beta=BETA), case.scale(fidelity)
    expected = admm(model, 30, 0.02, 1.0, 4.0, 5.0, 1.3)[-1]
    settings = {"max_iterations": 30, "tolerance": 0.0, "precision": "double", "regularisation_weight": 1e-3}
    settings |= {
        "harmonic_weight": BETA,
        "gradient_penalty": 0.02,
        "field_penalty": 4.0,
        "harmonic_penalty": 5.0,
        "relaxation": 1.3,
    }
    if fidelity == "nonlinear":
        settings["convex_iterations"] = 0
    result = make_solver(name, **settings).solve(case.problem())
    assert relative_error(result.susceptibility_ppm, np.where(case.mask, expected[0] / scale, 0)) < 1e-6
    background = np.where(case.mask, expected[4] / scale, 0)
    assert relative_error(result.images["background_field_ppm"], background) < 1e-5
    assert result.history["objective"][-1] == pytest.approx(model.objective(expected) / scale**2, rel=1e-6)


@pytest.mark.parametrize("name", FIDELITY)
def test_harmonic_field_that_is_added_returns_as_background(case, name):
    harmonic = harmonic_field(case)
    solver = make_solver(name, regularisation_weight=ALPHA, **TIGHT)
    before = solver.solve(case.problem())
    after = solver.solve(case.problem(field_ppm=case.field + harmonic))
    grown = after.images["background_field_ppm"] - before.images["background_field_ppm"]
    assert relative_error(grown[case.mask], harmonic[case.mask]) < 0.1
    assert not after.images["background_field_ppm"][~case.mask].any()
    # The susceptibility hardly notices, while that of total variation alone does.
    tv = make_solver("tv", regularisation_weight=ALPHA)
    plain, spoilt = (
        tv.solve(case.problem(field_ppm=values)).susceptibility_ppm for values in (case.field, case.field + harmonic)
    )
    assert relative_error(after.susceptibility_ppm, before.susceptibility_ppm) < 0.1
    assert relative_error(spoilt, plain) > 0.5


def test_constant_offset_of_the_field_goes_to_the_background(case):
    solver = make_solver("wh-qsm", regularisation_weight=ALPHA, **TIGHT)
    before, after = (solver.solve(case.problem(field_ppm=values)) for values in (case.field, case.field + 0.05))
    grown = (after.images["background_field_ppm"] - before.images["background_field_ppm"])[case.mask]
    assert np.allclose(grown, 0.05, atol=1e-4)
    assert relative_error(after.susceptibility_ppm, before.susceptibility_ppm) < 1e-3


def test_free_background_takes_everything(case):
    result = make_solver("wh-qsm", regularisation_weight=0.1, **{**TIGHT, "harmonic_weight": 1e-6}).solve(
        case.problem()
    )
    weighted = case.mask & (case.magnitude > 0)
    assert relative_error(result.images["background_field_ppm"][weighted], case.field[weighted]) < 0.02
    assert np.abs(result.susceptibility_ppm).max() < 0.01 * np.abs(case.truth).max()


@pytest.mark.parametrize("penalty", [0.02, 0.1])
def test_every_penalty_ends_at_the_same_minimum(case, penalty):
    ends = []
    for value, iterations in ((penalty, 2500), (0.05, 2500)):
        settings = {"tolerance": 0.0, "harmonic_penalty": value, "max_iterations": iterations, "precision": "double"}
        result = make_solver("wh-qsm", regularisation_weight=ALPHA, **settings).solve(case.problem())
        ends.append(result.history["objective"][-1])
    assert ends[0] == pytest.approx(ends[1], rel=1e-3)


@pytest.mark.parametrize("name", FIDELITY)
@pytest.mark.parametrize("alpha", [ALPHA / 5, ALPHA, 10 * ALPHA])
def test_reaches_the_minimum_at_default_settings(case, name, alpha):
    settings = {"regularisation_weight": alpha}
    result = make_solver(name, **settings).solve(case.problem())
    long = make_solver(name, **settings, max_iterations=3000, tolerance=0.0).solve(case.problem()).history["objective"]
    assert long[len(long) // 2] < 1.0001 * long[-1], "the long run has not come to its end"
    assert result.converged
    assert result.history["objective"][-1] < 1.003 * long[-1]


@pytest.mark.parametrize("factor", [0.02, 10.0])
def test_balancing_mends_a_bad_penalty_and_a_given_one_stays(case, monkeypatch, factor):
    """muh far off is still on its way to the same minimum where it is fixed."""
    usual = make_solver("wh-qsm", regularisation_weight=ALPHA).solve(case.problem())
    monkeypatch.setattr(composition, "HARMONIC_PENALTY_RATIO", factor * composition.HARMONIC_PENALTY_RATIO)
    balanced = make_solver("wh-qsm", regularisation_weight=ALPHA).solve(case.problem())
    assert balanced.history["objective"][-1] == pytest.approx(usual.history["objective"][-1], rel=1e-3)
    start = composition.HARMONIC_PENALTY_RATIO * balanced.details["field_penalty"] * np.mean(np.square(VOXEL_SIZE)) ** 2
    fixed = make_solver("wh-qsm", regularisation_weight=ALPHA, harmonic_penalty=start).solve(case.problem())
    assert fixed.details["harmonic_penalty"] == start
    assert abs(np.log(balanced.details["harmonic_penalty"] / usual.details["harmonic_penalty"])) < 0.5 * np.log(50)
    assert balanced.history["objective"][-1] < fixed.history["objective"][-1]
