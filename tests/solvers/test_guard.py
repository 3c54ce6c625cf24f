"""Fields that still hold their background, and maps that cannot be susceptibility."""

import dataclasses
import logging

import numpy as np
import pytest

from qsm_recon.background import detection
from qsm_recon.errors import DataError
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.result import Reconstruction
from qsm_recon.select.path import Path
from qsm_recon.solvers.guard import background_in, impossible_range
from qsm_recon.solvers.registry import make_solver

SHAPE = (30, 28, 26)


@pytest.fixture(scope="module")
def problems():
    """The same tissue without and with air beside it."""
    grid = Grid(SHAPE, (2.0, 2.0, 2.0))
    x, y, z = np.ix_(*[(np.arange(n) - (n - 1) / 2) * 2.0 for n in SHAPE])
    mask = np.asarray(x**2 + y**2 + z**2 < 20**2)
    tissue = np.where(mask, 0.03 * np.random.default_rng(2).standard_normal(SHAPE), 0)
    air = 9.4 * (x**2 + y**2 + (z - 24) ** 2 < 5**2) * np.ones(SHAPE)
    operator = DipoleOperator(grid, padding=20)
    local = Problem(operator.forward(tissue.astype(np.float32)), mask, grid)
    return local, dataclasses.replace(local, field_ppm=operator.forward((tissue + air).astype(np.float32)))


def test_a_total_field_is_found_out_and_a_local_one_is_not(problems):
    local, total = problems
    assert background_in(local) is None
    assert background_in(total).startswith("sources outside the mask explain 9")


def test_what_the_problem_says_is_believed(problems, monkeypatch):
    monkeypatch.setattr(detection, "_test", lambda _problem: pytest.fail("no test is needed"))
    local, total = problems
    assert background_in(dataclasses.replace(total, field_kind="local")) is None
    assert background_in(dataclasses.replace(local, field_kind="total")) == "the field is a total field"


def test_a_solver_warns_of_a_field_that_looks_total(problems, caplog):
    local, total = problems
    with caplog.at_level(logging.WARNING):
        result = make_solver("tkd").solve(total)
    assert "tkd expects a local field: sources outside the mask explain" in caplog.text
    assert "sources outside" in result.details["background_in_field"]
    caplog.clear()
    result = make_solver("tkd").solve(local)
    assert not caplog.text
    assert "background_in_field" not in result.details


def test_a_sweep_refuses_a_field_that_is_said_to_be_total(problems):
    with pytest.raises(DataError, match="expects a local one"):
        Path(make_solver("tkd"), dataclasses.replace(problems[1], field_kind="total"))


@pytest.mark.parametrize("name", ["tfi", "wh-qsm", "wh-nlqsm"])
def test_methods_that_model_a_background_take_any_field(problems, name, caplog):
    solver = make_solver(name, max_iterations=1)
    with caplog.at_level(logging.WARNING):
        result = solver.solve(dataclasses.replace(problems[1], field_kind="total"))
    assert solver.takes_total_field()
    assert not caplog.text
    if name == "tfi":
        assert result.details["background"] == "present"
        assert "left_by_projection" not in result.details


def test_the_generic_method_takes_one_if_it_has_a_background():
    assert not make_solver("admm").takes_total_field()
    assert make_solver("admm", harmonic_weight=100.0).takes_total_field()


def test_total_field_inversion_believes_the_problem_too(problems):
    quick = make_solver("tfi", max_iterations=1, cg_iterations=2)
    assert quick.solve(dataclasses.replace(problems[1], field_kind="local")).details["background"] == "removed"
    tested = quick.solve(problems[1]).details
    assert tested["background"] == "present"
    assert tested["left_by_projection"] < 0.1 * tested["left_of_tissue_by_projection"]


@pytest.mark.parametrize("name", ["tfi", "wh-qsm"])
def test_the_default_weight_does_not_follow_the_background(problems, name):
    local, total = problems
    noise = 2e-4 * np.random.default_rng(7).standard_normal(SHAPE).astype(np.float32)
    noisy = [dataclasses.replace(problem, field_ppm=problem.field_ppm + noise) for problem in (local, total)]
    weights = [make_solver(name).resolved(problem).main_value() for problem in noisy]
    assert weights[1] == pytest.approx(weights[0], rel=0.6)
    believed = make_solver(name).resolved(dataclasses.replace(noisy[1], field_kind="local")).main_value()
    assert believed > 3 * weights[0]


def reconstruction(values):
    mask = np.ones(values.shape, bool)
    return Reconstruction(values.astype(np.float32), mask, "tv", {}, True, "")


def test_brains_with_strong_sources_are_possible():
    chi = 0.05 * np.random.default_rng(0).standard_normal((30, 30, 30))
    chi[:6, :6] = 2.0  # 4 % of the voxels
    assert impossible_range(reconstruction(chi)) is None
    assert impossible_range(reconstruction(chi + 3.0)) is None


def test_a_map_of_half_a_ppm_everywhere_is_impossible():
    found = impossible_range(reconstruction(0.5 * np.random.default_rng(0).standard_normal((30, 30, 30))))
    assert "third of the mask" in found
    assert "too much for tissue" in found
