"""Penalties that change on the way: the iterates are those of the oracle, and nothing leaps."""

import numpy as np
import pytest
from oracles import relative_error
from oracles.cases import SmallCase
from oracles.cases import periodic_solver as make_solver
from oracles.variational import admm

from qsm_recon.engines import admm as engine

FIXED = {"precision": "double", "tolerance": 0.0, "relaxation": 1.3, "regularisation_weight": 1e-3}
CHANGES = [2**n for n in range(4, 9)]


@pytest.fixture(scope="module")
def case():
    return SmallCase()


@pytest.mark.parametrize("factor", [0.3, 4.0])
@pytest.mark.parametrize("name", ["tv", "tgv"])
def test_changed_penalty_of_the_gradient_is_the_oracle(case, monkeypatch, name, factor):
    monkeypatch.setattr(engine, "balancing_factor", lambda _values, _splitting: factor)
    settings = {**FIXED, "max_iterations": 21, "gradient_penalty": 0.02, "field_penalty": 4.0, "balance": True}
    if name == "tgv":
        settings["second_weight_ratio"] = 2.0
    solver = make_solver(name, **settings)
    result = solver.solve(case.problem())
    model = case.model(1e-3, regulariser=name)
    ratio = engine_ratio(case) if name == "tgv" else 1.0
    expected = admm(
        model, 21, 0.02, 0.02 * ratio, 4.0, 5.0, 1.3, changes={4: (factor, 1), 8: (factor, 1), 16: (factor, 1)}
    )[-1]
    assert relative_error(result.susceptibility_ppm, np.where(case.mask, expected[0], 0)) < 1e-6
    assert result.history["gradient_penalty"][-1] == pytest.approx(0.02 * factor**3)


def engine_ratio(case):
    """mu0 / mu1 as the recipe has it."""
    from oracles.cases import VOXEL_SIZE

    from qsm_recon.terms.regulariser.generalised_variation import PENALTY_RATIO

    return PENALTY_RATIO * float(np.sqrt(np.mean(np.square(VOXEL_SIZE)))) * 2.0


@pytest.mark.parametrize("factor", [0.3, 4.0])
def test_changed_penalty_of_the_background_is_the_oracle(case, monkeypatch, factor):
    monkeypatch.setattr(engine, "balancing_factor", lambda _values, _splitting: factor)
    settings = {**FIXED, "max_iterations": 40, "gradient_penalty": 0.02, "field_penalty": 4.0}
    result = make_solver("wh-qsm", **settings, harmonic_weight=150.0).solve(case.problem())
    last = result.details["harmonic_penalty"]
    model = case.model(1e-3, beta=150.0)
    expected = admm(model, 40, 0.02, 1.0, 4.0, last / factor**2, 1.3, changes={16: (1, factor), 32: (1, factor)})[-1]
    assert relative_error(result.susceptibility_ppm, np.where(case.mask, expected[0], 0)) < 1e-6
    assert result.history["objective"][-1] == pytest.approx(model.objective(expected), rel=1e-6)


@pytest.mark.parametrize("name", ["wh-qsm", "wh-nlqsm"])
def test_iteration_limit_right_after_a_change_gives_what_there_was_before(case, name):
    """The right-hand side of the old penalty made the objective leap a thousandfold there."""
    limits = [limit for change in CHANGES[1:] for limit in (change, change + 1)]
    ends = []
    for limit in limits:
        result = make_solver(name, regularisation_weight=5e-4, max_iterations=limit, tolerance=0.0).solve(
            case.problem()
        )
        ends.append((result.history["objective"][-1], result.susceptibility_ppm))
    for (before, chi_before), (after, chi_after) in zip(ends[::2], ends[1::2], strict=True):
        assert after < 1.01 * before
        assert relative_error(chi_after, chi_before) < 0.05


def test_stop_never_falls_on_the_iterations_after_a_change(case, monkeypatch):
    """Whatever the objective did before the change, a window of iterations after it must agree."""
    monkeypatch.setattr(engine, "balancing_factor", lambda _values, _splitting: 1.5)
    stops = {
        make_solver("wh-qsm", regularisation_weight=alpha, tolerance=tolerance).solve(case.problem()).iterations
        for alpha in (1e-4, 1e-3, 1e-2)
        for tolerance in (3e-1, 1e-2, 1e-3)
    }
    for change in CHANGES:
        assert not stops & set(range(change + 1, change + engine.WINDOW + 1))
