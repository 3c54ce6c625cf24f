"""The runner: nothing done is done again, nothing that fails is hidden, nothing interrupted is lost."""

import io
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.suite.job import Job
from benchmarks.suite.methods import entries
from benchmarks.suite.record import METRICS, Record, Row
from benchmarks.suite.runner import Planned, RunSettings, run_plan
from benchmarks.suite.schedule import worker_count
from benchmarks.suite.stages import ONE_SET, Data, stage_one, stage_two
from benchmarks.suite.store import Store, alone_in, read_rows
from qsm_recon.errors import DataError, ParameterError

ROOT = Path(__file__).resolve().parents[2]
COUNTED = """
from pathlib import Path
LOG = Path({log!r})
def counted(case):
    LOG.write_text((LOG.read_text() if LOG.exists() else "") + "x")
    return case
def stopped(case):
    if LOG.with_suffix(".stop").exists():
        raise KeyboardInterrupt
    return counted(case)
"""


@pytest.fixture
def settings(tmp_path):
    return RunSettings(workers=0, store=tmp_path / "store", results=tmp_path / "results", quiet=True)


@pytest.fixture
def log(tmp_path):
    """A file that grows by a letter with every job that runs; its functions are in mine.py."""
    log = tmp_path / "log"
    (tmp_path / "mine.py").write_text(COUNTED.format(log=str(log)))
    return log


def fixed_plan(*jobs, keep_map=False):
    planned = [Planned(job, {"n": str(n)}, keep_map) for n, job in enumerate(jobs)]
    return lambda _known: planned


def test_a_job_is_run_once(settings, head, log, tmp_path):
    jobs = [Job.of("tkd", head, w, prepare=f"{tmp_path}/mine.py:counted") for w in (0.1, 0.2)]
    first = run_plan("table", fixed_plan(*jobs), settings)
    again = run_plan("table", fixed_plan(*jobs), settings)
    assert log.read_text() == "xx"
    assert [row.record.weight for row in again] == [0.1, 0.2]
    assert [row.record.metrics for row in again] == [row.record.metrics for row in first]
    run_plan("table", fixed_plan(*jobs, Job.of("tkd", head, 0.3, prepare=f"{tmp_path}/mine.py:counted")), settings)
    assert log.read_text() == "xxx"


def test_a_damaged_record_is_made_again(settings, head, log, tmp_path):
    job = Job.of("tkd", head, prepare=f"{tmp_path}/mine.py:counted")
    run_plan("table", fixed_plan(job), settings)
    path = Store(settings.store).record_path(job.key())
    path.write_text(path.read_text()[:100])
    assert run_plan("table", fixed_plan(job), settings)[0].record.metrics["nrmse"] > 0
    assert log.read_text() == "xx"


@pytest.mark.parametrize("content", ["[]", "null", '"text"', "{}", '{"key": "KEY"}', '{"key": "KEY", "job": {}}'])
def test_a_record_of_another_form_is_made_again(settings, head, content):
    """A list ended the run in a traceback, and a job without parameters did when its row was written."""
    job = Job.of("tkd", head)
    first = run_plan("table", fixed_plan(job), settings)
    Store(settings.store).record_path(job.key()).write_text(content.replace("KEY", job.key()))
    assert run_plan("table", fixed_plan(job), settings)[0].record.metrics == first[0].record.metrics


def of_one_array(_whole):
    stream = io.BytesIO()
    np.save(stream, np.zeros(3, np.float32))
    return stream.getvalue()


def of_other_arrays(_whole):
    stream = io.BytesIO()
    np.savez(stream, other=np.zeros(3, np.float32))
    return stream.getvalue()


def cut(whole):
    return whole[:300]


def altered(whole):
    return whole[:300] + bytes(100) + whole[400:]


def emptied(_whole):
    return b""


@pytest.mark.parametrize("damage", [cut, altered, emptied, of_one_array, of_other_arrays])
def test_a_damaged_map_counts_as_not_kept(settings, head, log, tmp_path, damage):
    """It ended figures in a traceback, and no run made it again."""
    job, store = Job.of("tkd", head, prepare=f"{tmp_path}/mine.py:counted"), Store(settings.store)
    run_plan("table", fixed_plan(job, keep_map=True), settings)
    kept, path = store.load_map(job.key()), store.map_path(job.key())
    path.write_bytes(damage(path.read_bytes()))
    assert store.load_map(job.key()) is None
    run_plan("table", fixed_plan(job), settings)
    assert log.read_text() == "x"  # where no map is asked for the record is enough
    run_plan("table", fixed_plan(job, keep_map=True), settings)
    assert log.read_text() == "xx"
    assert np.array_equal(store.load_map(job.key()), kept)


@pytest.mark.parametrize("content", ["[]", '{"rows": [[]]}', '{"rows": [{"tags": {}, "key": "k", "job": {}}]}', "{"])
def test_a_table_of_another_form_is_refused_in_words(settings, head, content):
    settings.results.mkdir()
    (settings.results / "table.json").write_text(content)
    with pytest.raises(DataError, match=r"table\.json: not a table of this suite"):
        run_plan("table", fixed_plan(Job.of("tkd", head)), settings)


def test_interrupted_runs_lose_nothing(settings, head, log, tmp_path):
    stop = log.with_suffix(".stop")
    stop.touch()
    first = Job.of("tkd", head, 0.1, prepare=f"{tmp_path}/mine.py:counted")
    second = Job.of("tkd", head, 0.2, prepare=f"{tmp_path}/mine.py:stopped")
    with pytest.raises(KeyboardInterrupt):
        run_plan("table", fixed_plan(first, second), settings)
    assert [row.record.weight for row in read_rows("table", settings.results)] == [0.1]
    stop.unlink()
    rows = run_plan("table", fixed_plan(first, second), settings)
    assert log.read_text() == "xx"
    assert [row.record.weight for row in rows] == [0.1, 0.2]


def test_a_failed_job_is_a_row_and_is_tried_again(settings, head, log, tmp_path):
    wants_echoes = Job.of("mctfi", head, prepare=f"{tmp_path}/mine.py:counted")
    rows = run_plan("table", fixed_plan(wants_echoes, Job.of("tkd", head)), settings)
    assert "echoes" in rows[0].record.failed
    assert rows[0].record.metrics == {}
    assert not rows[1].record.failed
    run_plan("table", fixed_plan(wants_echoes), settings)
    assert log.read_text() == "xx"
    assert len(read_rows("table", settings.results)) == 2


def test_a_record_says_what_the_issue_asks(settings, head):
    row = run_plan("table", fixed_plan(Job.of("tv", head, "auto"), keep_map=True), settings)[0]
    record = row.record
    assert not record.failed
    assert set(record.metrics) == set(METRICS)
    assert record.metrics["nrmse"] < 60
    assert record.metrics["dnrmse_blood"] is None
    assert "label" in record.not_computed["dnrmse_blood"]
    assert record.weight_name == "regularisation_weight"
    assert record.weight_unit == "ppm·mm"
    assert record.iterations > 10
    assert record.converged
    assert min(record.cpu_s, record.wall_s, record.choice["cpu_s"]) > 0
    assert record.peak_gib >= 0
    assert {"risk", "cone", "lcurve"} <= set(record.choice["picks"])
    assert record.choice["picks"]["auto"]["value"] == record.weight
    for name in ("version", "commit", "machine", "date", "command", "sources", "software"):
        assert name in record.provenance
    kept = Store(settings.store).load_map(record.key)
    assert kept.shape == (24, 28, 24)
    assert np.ptp(kept) > 0.05
    assert "/" not in json.dumps(record.job)


def test_the_truth_finds_a_better_weight(settings, head):
    jobs = [Job.of("tikhonov", head, "truth"), Job.of("tikhonov", head, 1e-6), Job.of("tikhonov", head, 10.0)]
    best, *others = run_plan("table", fixed_plan(*jobs), settings)
    assert not best.record.choice["at_edge"]
    assert best.record.metrics["nrmse"] < min(row.record.metrics["nrmse"] for row in others) - 1
    assert min(best.record.choice["tried"].values()) == pytest.approx(best.record.metrics["nrmse"], rel=1e-9)


def test_one_set_is_the_geometric_mean(settings, small_head):
    data = [Data(name, f"head:{small_head}?field={name}") for name in ("true", "echoes")]
    rows = run_plan("table", stage_one(entries(["tkd"]), ["fit"], data), settings)
    each = [row.record.weight for row in rows if row.tags["choice"] == "each"]
    both = [row.record.weight for row in rows if row.tags["choice"] == ONE_SET]
    assert len(each) == len(both) == 2
    assert both == pytest.approx([math.sqrt(each[0] * each[1])] * 2, rel=1e-4)


def test_other_inputs_are_asked_of_the_phantom_only(small_head):
    everything = ["fit", "difference", "fit, field only"]
    chosen = entries(["tv", "mctfi", "wl1l2"])

    def jobs(specification):
        return [p.job for p in stage_two(chosen, everything, [Data("D", specification)])(lambda _job: None)]

    from_head, from_phantom = jobs(f"head:{small_head}"), jobs("phantom:sim2?size=reduced")
    assert {job.case for job in from_head} == {f"head:{small_head}"}
    assert {(job.case[-10:], job.magnitude) for job in from_phantom if job.solver == "tv"} == {
        ("&field=fit", True), ("difference", True), ("&field=fit", False)
    }  # fmt: skip
    assert all(job.case.endswith("field=fit") and job.magnitude for job in from_phantom if job.solver == "mctfi")


def test_rows_of_another_program_are_replaced_and_others_stay(settings, head):
    jobs = [Job.of("tkd", head, w) for w in (0.1, 0.2)]
    run_plan("table", fixed_plan(*jobs), settings)
    run_plan("table", lambda _known: [Planned(Job.of("tkd", head, 0.15), {"n": "0"})], settings)
    assert [row.record.weight for row in read_rows("table", settings.results)] == [0.15, 0.2]
    settings.results.joinpath("table.json").write_text("{}")
    with pytest.raises(DataError, match="not a table of this suite"):
        read_rows("table", settings.results)


ADDS_A_ROW = """
import sys
from pathlib import Path
from benchmarks.suite.job import Job
from benchmarks.suite.record import Record, Row
from benchmarks.suite.store import merge_rows
print("begins", flush=True)
merge_rows("table", [Row({"by": "other"}, Record("b", Job.of("tkd", "head:x").description()))], Path(sys.argv[1]))
"""


def test_two_runs_may_write_into_one_table(tmp_path):
    """Each read the table, and wrote it again without what the other had added in between."""
    mine = Row({"by": "one"}, Record("a", Job.of("tkd", "head:x").description()))
    with alone_in(tmp_path):
        command = [sys.executable, "-c", ADDS_A_ROW, str(tmp_path)]
        other = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert other.stdout.readline() == "begins\n"
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(1)
        assert read_rows("table", tmp_path) == []
        content = json.dumps({"rows": [mine.as_dict()]})
        (tmp_path / "table.json").write_text(content)
    other.communicate(timeout=120)
    assert [row.tags["by"] for row in read_rows("table", tmp_path)] == ["one", "other"]
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.csv", "table.json"]


def test_tidy_csv_has_a_line_a_row(settings, head):
    import pandas as pd

    run_plan("table", fixed_plan(Job.of("tkd", head, parameters={"kernel": "green"}), Job.of("mctfi", head)), settings)
    table = pd.read_csv(settings.results / "table.csv")
    assert list(table["job_solver"]) == ["tkd", "mctfi"]
    assert table["nrmse"][0] > 0
    assert np.isnan(table["nrmse"][1])
    assert table["job_parameters"][0] == "kernel=green"
    assert "echoes" in table["failed"][1]


def test_workers_fit_into_memory():
    assert worker_count(8, 1, needed_gib=2.0, available_gib=7.0) == 3
    assert worker_count(8, 1, needed_gib=20.0, available_gib=7.0) == 1
    assert worker_count(0, 1, needed_gib=2.0, available_gib=7.0) == 0
    assert worker_count(2, 1, needed_gib=0.0, available_gib=7.0) == 2
    with pytest.raises(ParameterError, match="--workers: expected 0 or more, found -1"):
        worker_count(-1, 1, needed_gib=2.0, available_gib=7.0)
    for threads in (0, -2):
        with pytest.raises(ParameterError, match=f"--threads: expected at least 1, found {threads}"):
            worker_count(None, threads, needed_gib=2.0, available_gib=7.0)


def test_jobs_run_on_workers_of_their_own(head, tmp_path):
    """By the command line, with two processes."""
    command = [
        sys.executable, "-m", "benchmarks.ablation", "--vary", "threshold=0.1,0.2", "--base", "tkd", "--case", head,
        "--weight", "default", "--workers", "2", "--store", str(tmp_path / "s"), "--results", str(tmp_path / "r"),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 workers, 1 threads each" in done.stdout
    first, second = (row.record for row in read_rows("ablation_threshold", tmp_path / "r"))
    assert (first.weight, second.weight) == (0.1, 0.2)
    assert first.metrics["nrmse"] != second.metrics["nrmse"]
    assert first.provenance["command"].startswith("python -m benchmarks.ablation --vary threshold=0.1,0.2 --base tkd")
    assert str(tmp_path) not in first.provenance["command"]
    assert Store(tmp_path / "s").find(first.key) == first
