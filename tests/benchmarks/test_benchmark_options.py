"""What all benchmarks have in common on their command line."""

import importlib
import sys
from pathlib import Path

import pytest

from qsm_recon.version import __version__

ROOT = Path(__file__).resolve().parents[2]
FILES = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "benchmarks").glob("*/__main__.py")]
BENCHMARKS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted(FILES)
    if path.stem == "__main__" or '__name__ == "__main__"' in path.read_text("utf-8")
]


def run(name, monkeypatch, *arguments):
    """Run a benchmark as from a shell; its exit code."""
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(name).main()
    return stopped.value.code


def test_all_are_found():
    assert len(BENCHMARKS) > 25
    assert {"benchmarks.rc2", "benchmarks.ablation", "benchmarks.speed", "benchmarks.rating.__main__"} <= set(
        BENCHMARKS
    )


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_says_the_packages_version(name, monkeypatch, capsys):
    """None but ``--help`` was there: nobody could tell which build a table was about to be made by."""
    assert run(name, monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"qsm_recon {__version__}\n"


@pytest.mark.parametrize("name", BENCHMARKS)
def test_what_a_benchmark_does_not_know_is_one_line(name, monkeypatch, capsys):
    """Most printed all of their usage before it."""
    assert run(name, monkeypatch, "--nonsense=1") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
