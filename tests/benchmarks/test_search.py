"""The search for the weight with the smallest error, against solves that a user would do."""

import numpy as np
import pytest

from benchmarks.suite.cases import load
from benchmarks.suite.execute import error_percent
from benchmarks.suite.search import STEP, search_with_truth
from qsm_recon import make_solver


@pytest.mark.parametrize("name", ["wh-qsm", "medi", "tikhonov"])
def test_the_weight_is_the_best_of_solves_from_nothing(name, head):
    """wh-qsm's background moves on when its map hardly does: warm maps told 0.5 points of NRMSE too little."""
    case = load(head)
    usual = make_solver(name).resolved(case.problem)
    solver = usual.with_regularisation(8 * usual.main_value())  # so that the way to the best one is by warm maps

    def alone(weight):
        return error_percent(case, solver.with_regularisation(weight).solve(case.problem))

    found = search_with_truth(solver, case.problem, lambda result: error_percent(case, result))
    best = found.best_value
    assert found.best_error == pytest.approx(alone(best), rel=1e-6)
    assert not found.at_edge
    assert found.best_error <= min(alone(best * STEP), alone(best / STEP))


def test_it_may_begin_anywhere(head):
    case = load(head)
    error = lambda result: error_percent(case, result)  # noqa: E731
    far = make_solver("tv", regularisation_weight=3e-7)
    near = search_with_truth(far, case.problem, error, step=STEP)
    usual = search_with_truth(make_solver("tv"), case.problem, error)
    assert near.best_error == pytest.approx(usual.best_error, rel=0.03)
    assert np.isfinite(list(near.tried.values())).all()
