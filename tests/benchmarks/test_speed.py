"""Where figures of speed are stored, and that to show them measures nothing."""

import json
from pathlib import Path

import pytest

from benchmarks.speed import main
from benchmarks.timing import RESULTS, save_rows, stored_results

ROUND = {"solver": "tv", "seconds": 2.0, "iterations": 7, "four_transforms_s": 0.01}
MODES = {
    "speed": [],
    "speed_all": ["--all"],
    "speed_converge": ["--converge"],
    "speed_morphology": ["--morphology", "local"],
    "speed_baseline": ["--baseline", "no-such-tag"],
    "speed_against": ["--against", "exec:no-such-program {field} {output}"],
    "scaling": ["--scaling"],
}
SHOWN = {
    "speed_all": "tv   160×160×160",
    "speed_converge": "l1qsm to convergence: 34.0 s, 393 iterations",
    "speed_morphology": "medi local",
    "speed_baseline": "| `tv` |",
}


def contents():
    return {path: path.stat().st_mtime_ns for path in RESULTS.rglob("*") if path.is_file()}


@pytest.mark.parametrize("mode", MODES)
def test_to_show_what_is_not_stored_measures_nothing(mode, tmp_path, capsys):
    before = contents()
    assert main([*MODES[mode], "--show", "--results", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out == "Nothing is stored.\n"
    assert not (tmp_path / "none").exists()
    assert contents() == before


@pytest.mark.parametrize("mode", SHOWN)
def test_what_is_stored_is_shown(mode, tmp_path, capsys):
    stored = (RESULTS / f"{mode}.json").read_text()
    (tmp_path / f"{mode}.json").write_text(stored)
    assert main([*MODES[mode], "--show"]) == 0
    shipped = capsys.readouterr().out
    assert main([*MODES[mode], "--show", "--results", str(tmp_path)]) == 0
    assert capsys.readouterr().out == shipped
    assert SHOWN[mode] in shipped
    assert (tmp_path / f"{mode}.json").read_text() == stored


def test_rows_go_to_the_folder_that_is_named(tmp_path):
    folder = tmp_path / "new" / "results"
    before = contents()
    path = save_rows("speed_converge", [ROUND, {**ROUND, "solver": "tgv"}], ("solver",), folder)
    assert path == folder / "speed_converge.json"
    save_rows("speed_converge", [{**ROUND, "seconds": 1.0}], ("solver",), folder)
    assert [(row["solver"], row["seconds"]) for row in stored_results("speed_converge", folder)["rows"]] == [
        ("tgv", 2.0), ("tv", 1.0)
    ]  # fmt: skip
    assert json.loads(path.read_text())["rows"][0]["machine"]
    assert contents() == before


def test_builds_are_compared_into_the_folder_that_is_named(small_head, tmp_path, capsys):
    before = contents()
    words = ["--baseline", str(Path(__file__).resolve().parents[2]), "--only", "tv", "--rounds", "1"]
    words += ["--data", f"head:{small_head}?field=true", "--results", str(tmp_path / "r")]
    code = main(words)
    assert contents() == before
    assert code == 0, capsys.readouterr().err
    assert [row["solver"] for row in stored_results("speed_baseline", tmp_path / "r")["rows"]] == ["tv"]
