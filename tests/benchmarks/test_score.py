"""How the suite scores a map: a susceptibility map has no zero point of its own."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.suite.execute import load, score
from qsm_recon import make_solver


def test_scores_disregard_a_constant(head):
    case = load(head)
    result = make_solver("tkd").solve(case.problem)
    shifted = replace(result, susceptibility_ppm=np.where(result.mask, result.susceptibility_ppm + 0.05, 0))
    plain, moved = score(case, result).values, score(case, shifted).values
    assert set(plain) == set(moved)
    assert plain["xsim"] > 0.3
    for name, value in plain.items():
        assert (moved[name] is None) if value is None else (moved[name] == pytest.approx(value, rel=1e-3, abs=1e-4)), (
            name
        )


def test_a_perfect_map_but_for_a_constant_is_perfect(head):
    case = load(head)
    result = make_solver("tkd").solve(case.problem)
    perfect = replace(result, susceptibility_ppm=(case.truth.susceptibility_ppm - 0.03).astype(np.float32))
    scores = score(case, perfect).values
    assert scores["xsim"] == pytest.approx(1, abs=1e-4)
    assert scores["nrmse"] == pytest.approx(0, abs=1e-3)
