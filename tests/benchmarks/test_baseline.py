"""One build beside another: the same problem to both, and what is told of them."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import baseline
from benchmarks.speed import main
from qsm_recon import Grid, Problem
from qsm_recon.operators.dipole import DipoleOperator

ROOT = Path(__file__).resolve().parents[2]


def small_problem():
    shape = (24, 20, 22)
    rng = np.random.default_rng(2)
    axes = np.ix_(*(np.linspace(-1.2, 1.2, n) for n in shape))
    mask = np.asarray(sum(a * a for a in axes) < 1)
    truth = np.zeros(shape, np.float32)
    truth[8:12, 6:11, 9:13], truth[13:17, 9:14, 8:12] = 0.1, -0.06
    grid = Grid(shape)
    field = DipoleOperator(grid).forward(truth) + 1e-3 * rng.standard_normal(shape)
    return Problem(field.astype(np.float32), mask, grid, b0_tesla=3.0, echo_times_s=(0.02,)), truth


def test_a_build_beside_itself_is_the_same(tmp_path):
    problem, truth = small_problem()
    baseline.store_problem(problem, tmp_path / "problem.npz")
    row = baseline._measured("tv", problem, truth, {"old": ROOT, "new": ROOT}, tmp_path, 1)
    assert row["old_iterations"] == row["new_iterations"] > 20
    assert row["old_nrmse"] == pytest.approx(row["new_nrmse"], abs=1e-3)
    assert row["old_distance"] == pytest.approx(row["new_distance"], abs=1e-5)
    assert 0 < row["new_distance"] <= 2 * row["told"] <= 0.03
    table = baseline.baseline_table([row | {"data": "small"}])
    assert f"| `tv` | small | {row['old_iterations']} → {row['new_iterations']} |" in table


@pytest.mark.parametrize("where", ["no-such-tag", "docs"])
def test_what_is_no_build_is_refused(where, capsys):
    assert main(["--baseline", where, "--only", "tv"]) == 2
    assert f"--baseline: '{where}' is neither a folder with a qsm_recon in it nor" in capsys.readouterr().err
