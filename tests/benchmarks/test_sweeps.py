"""Sweeps and choices of two builds, told beside true distances: small ones are right, pages hold what is stored."""

from pathlib import Path

import numpy as np
import pytest
from oracles.cases import SmallCase

from benchmarks import choosing, map_distance, memory, sweeps
from benchmarks.baseline import store_problem
from benchmarks.tables import rows_of
from qsm_recon.errors import ParameterError
from qsm_recon.select.tune import select_value
from qsm_recon.solvers.registry import make_solver

ROOT = Path(__file__).resolve().parents[2]


def test_a_child_sweeps_as_this_process_does(tmp_path):
    problem = SmallCase().problem()
    store_problem(problem, tmp_path / "problem.npz")
    found = sweeps.sweep_with(ROOT, tmp_path / "problem.npz", "tikhonov", [0.1, 0.02], tmp_path / "maps.npz")
    assert found["cpu_s"] > 0
    assert len(found["costs"]) == 2
    with np.load(tmp_path / "maps.npz", allow_pickle=False) as stored:
        for value, chi in zip((0.1, 0.02), stored["maps"], strict=True):
            expected = make_solver("tikhonov", regularisation_weight=value).solve(problem).susceptibility_ppm
            np.testing.assert_allclose(chi, expected[problem.mask], atol=1e-6)
    with pytest.raises(ParameterError, match="a sweep of nothing failed"):
        sweeps.sweep_with(ROOT, tmp_path / "problem.npz", "nothing", [0.1], tmp_path / "maps.npz")


def test_a_child_chooses_as_this_process_does(tmp_path):
    problem = SmallCase().problem()
    store_problem(problem, tmp_path / "problem.npz")
    found = choosing.chosen_by(ROOT, tmp_path / "problem.npz", "tikhonov")
    pick, curve = select_value(make_solver("tikhonov"), problem)
    assert (found["weight"], found["points"]) == (pytest.approx(pick.value, rel=1e-5), len(curve))
    with pytest.raises(ParameterError, match="choosing for nothing failed"):
        choosing.chosen_by(ROOT, tmp_path / "problem.npz", "nothing")


def test_what_was_true_is_the_distance_from_a_long_run():
    problem = SmallCase().problem()
    row = map_distance.measured("tv", problem, 4.0)
    solver = make_solver("tv", regularisation_weight=row["weight"])
    limit = make_solver("tv", regularisation_weight=row["weight"], tolerance=0.0, max_iterations=3000).solve(problem)
    assert row["true"] == pytest.approx(map_distance.distance(solver.solve(problem), limit), rel=0.2)
    assert row["told"] <= 0.015
    assert map_distance.distance(limit, limit) == 0


def test_the_verdict_counts_what_was_told_too_little():
    rows = [{"data": "a", "told": told, "true": 0.01} for told in (0.004, 0.008, 0.02)]
    said = map_distance.verdict([*rows, {"data": "b", "told": 0.03, "true": 0.01}])
    assert said.startswith("Of 4 runs on 2 data sets, told was less than true in 2 and less than half of it in 1; ")
    assert said.endswith("told over true: 0.40 to 3.00, median 1.40.")


def test_pages_have_the_stored_tables():
    cost = (ROOT / "docs" / "inside" / "cost.md").read_text("utf-8")
    assert sweeps.sweeps_table(sweeps.stored_rows()) in cost
    assert choosing.choosing_table(rows_of(choosing.TABLE)) in cost
    assert memory.builds_table(rows_of(memory.TABLE)) in cost
    page = (ROOT / "docs" / "variational.md").read_text("utf-8")
    rows = map_distance.stored_rows()
    assert map_distance.distance_table(rows) in page
    assert map_distance.verdict(rows) in " ".join(page.split())


def test_what_is_unknown_is_said_before_anything_is_computed(capsys):
    assert map_distance.main(["--only", "tv", "rc1:nowhere"]) == 2
    assert "algorithm 'rc1:nowhere' is unknown" in capsys.readouterr().err
    assert map_distance.main(["rc1:nowhere"]) == 2
    assert "no such file or folder" in capsys.readouterr().err
