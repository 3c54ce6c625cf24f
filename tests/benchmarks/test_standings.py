"""Ranking, combination and the printed tables."""

import pytest

from benchmarks.suite.challenge_table import stage_tables
from benchmarks.suite.record import METRICS, Record, Row
from benchmarks.suite.stages import EACH, ONE_SET
from benchmarks.suite.standings import rank_correlation, submissions


def row(solver, data, nrmse, choice=ONE_SET, failed="", **metrics):
    values = {} if failed else dict.fromkeys(METRICS, nrmse) | metrics
    job = {"solver": solver, "case": data, "weight": "auto", "parameters": {}, "magnitude": True, "prepare": ""}
    record = Record("key", job, failed=failed, weight=1e-4, metrics=values, iterations=7, converged=True, cpu_s=3.0)
    record.peak_gib, record.choice = 0.5, {"confidence": 0.9}
    tags = {"method": f"`{solver}`", "class": "c", "input": "fit", "data": data, "choice": choice, "snr": "SNR1"}
    return Row(tags, record)


def pair(solver, first, second, **more):
    return [row(solver, "SIM1", first, **more), row(solver, "SIM2", second, **more)]


def test_simulations_are_combined_as_in_the_challenge():
    rows = pair("tv", 30.0, 20.0)
    found = submissions(rows, ONE_SET, "SNR1")[0]
    assert found.scores.values["nrmse"] == 25.0
    assert found.scores.values["calcification_streaking"] == 20.0


def test_top_five_are_counted_among_all_submissions():
    names = [f"m{n}" for n in range(7)]
    rows = [one for n, name in enumerate(names) for one in pair(name, 30.0 + n, 20.0 + n)]
    rows[-1].record.metrics["dnrmse_blood"] = rows[-2].record.metrics["dnrmse_blood"] = 1.0
    found = {one.solver: one for one in submissions(rows, ONE_SET, "SNR1")}
    assert [found[name].top_five for name in names] == [8, 8, 8, 8, 7, 0, 1]
    assert [found[name].place for name in names] == [1, 2, 3, 4, 5, 7, 6]


def test_a_failure_takes_no_part_but_is_printed():
    rows = [*pair("tv", 30.0, 20.0), row("medi", "SIM1", 20.0), row("medi", "SIM2", 0.0, failed="out of | memory")]
    found = {one.solver: one for one in submissions(rows, ONE_SET, "SNR1")}
    assert found["medi"].scores.values == {}
    assert found["medi"].failures == {"SIM2": "out of | memory"}
    assert found["tv"].place == 1
    printed = stage_tables(rows, 1)
    assert "| `medi`, c, fit, SIM2, one set, SNR1 | auto | out of \\| memory |" in printed


@pytest.mark.parametrize(("order", "expected"), [((20, 21, 22, 23, 24), 1.0), ((24, 23, 22, 21, 20), -1.0)])
def test_rank_correlation_with_the_published_order(order, expected):
    names = ("fansi", "wl1l2", "l1qsm", "wh-nlqsm", "fansi-tgv")
    rows = [one for name, n in zip(names, order, strict=True) for one in pair(name, n, n, choice=EACH)]
    value, used = rank_correlation(submissions(rows, EACH, "SNR1"), 2)
    assert value == pytest.approx(expected)
    assert used == list(names)
    assert rank_correlation(submissions(rows[:4], EACH, "SNR1"), 2) is None
    for row in rows:
        row.record.metrics["nrmse"] = 30.0
    assert rank_correlation(submissions(rows, EACH, "SNR1"), 2) is None


def test_tables_hold_all_metrics_costs_and_what_was_published():
    printed = stage_tables([*pair("medi", 30.0, 20.0), *pair("medi", 29.0, 19.0, choice=EACH)], 1)
    head = next(line for line in printed.splitlines() if line.startswith("| method"))
    for name in ("NRMSE", "streaking", "moment", "top five", "CPU s", "GiB", "published NRMSE"):
        assert f" {name} " in head
    assert "| `medi` | fit | 25.0 |" in printed
    assert "MEDI 40.5" in printed
    assert "doi 10.1002/mrm.28754" in printed
    assert "| `medi` | fit | 0.0001 | 0.0001 | 0.90 | 0.90 | 24.0 | 25.0 |" in printed
    assert "SSIM | XSIM | HFEN | CC | MI | MAD | GXE" in printed


def test_other_data_have_tables_of_their_own():
    printed = stage_tables([row("tv", "rc1", 60.0, choice=EACH), row("tkd", "rc1", 65.0, choice=EACH)], 2)
    assert "**rc1**" in printed
    assert printed.index("`tv`") < printed.index("`tkd`")
    assert "published" not in stage_tables([row("medi", "qsmci:dev", 12.0, choice=EACH)], 2)  # of another phantom
    assert stage_tables([], 1) == "Nothing is stored."
