"""Seconds and memory over volume and threads: rows of the suite, and the table from them."""

import pytest

from benchmarks import document
from benchmarks.asv.representatives import REPRESENTATIVES
from benchmarks.scaling import TABLE, measure_scaling, scaling_table
from benchmarks.speed import main
from benchmarks.suite.runner import command_line
from benchmarks.suite.store import read_rows


def test_a_row_for_every_cube_and_a_failure_with_its_reason(tmp_path, monkeypatch):
    said = []
    rows = measure_scaling(["tkd"], [24], [1], tmp_path, said.append)
    assert said[0].startswith("tkd 24³, 1 threads: ")
    (record,) = [row.record for row in rows]
    assert record.cpu_s > 0
    assert record.wall_s > 0
    assert record.peak_gib >= 0
    assert record.weight is not None
    monkeypatch.setitem(REPRESENTATIVES, "tkd", REPRESENTATIVES["tv"])  # parameters that it does not have
    rows = measure_scaling(["tkd"], [16], [1], tmp_path, said.append)
    assert [row.tags["edge"] for row in rows] == ["16", "24"]
    assert "ParameterError" in rows[0].record.failed
    table = scaling_table(rows)
    assert "| `tkd` | admm | 24³ | – |" in table
    assert "No result:" in table
    assert document.printed(TABLE, tmp_path).startswith(table)
    assert read_rows(TABLE, tmp_path) == rows


def test_memory_is_not_that_of_an_earlier_run_used_again(tmp_path):
    """Compiling runs the method once; what that freed has to be gone before memory is watched."""
    (row,) = measure_scaling(["medi"], [64], [1], tmp_path, lambda _: None)
    assert 10 < row.record.extras["peak_volumes"] < 60


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--only", "tvv"], "method 'tvv' stands for no engine; did you mean 'tv'"),
        (["--sizes", "8"], "size 8: expected the edge of a cube of 16 to 512 voxels"),
        (["--threads", "4096"], "threads 4096: expected 1 to"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(words, reason, tmp_path, capsys):
    assert main(["--scaling", *words, "--results", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert reason in printed.err
    assert printed.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_nothing_is_measured_to_show_a_table(tmp_path, capsys):
    assert main(["--scaling", "--show", "--results", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "Nothing is stored.\n"


def test_the_command_that_is_kept_has_what_was_asked_and_no_folder(monkeypatch):
    given = ["--scaling", "--sizes", "64", "128", "--threads", "1", "2", "--results", "/home/me/r", "--only", "tkd"]
    monkeypatch.setattr("sys.argv", ["/home/me/speed.py", *given])
    monkeypatch.setattr("__main__.__spec__", None)
    assert command_line(("--threads",)) == "python speed.py --scaling --sizes 64 128 --threads 1 2 --only tkd"
    monkeypatch.setattr(
        "sys.argv", ["rc2.py", "--threads", "2", "--stage", "1", "--workers=0", "--data", "rc1:/home/me/x"]
    )
    assert command_line() == "python rc2.py --stage 1 --data rc1:x"
