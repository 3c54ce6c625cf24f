"""Commands as programs: the list of them, and a reader that stops reading."""

from __future__ import annotations

import ast
import configparser
import importlib
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import qsm_recon
from qsm_recon.__main__ import COMMANDS, MODULES, main
from qsm_recon.__main__ import program as program_of_all
from qsm_recon.commands.line import run_as_program
from qsm_recon.version import __version__

PACKAGE = Path(qsm_recon.__file__).parent


def program(path):
    """What a file does where it is run as a program; None for one that cannot be."""
    tops = ast.parse(path.read_text("utf-8")).body
    found = [node for node in tops if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"]
    return "\n".join(map(ast.unparse, found[0].body)) if found else None


def test_every_command_is_listed():
    files = {path.stem for path in PACKAGE.glob("*.py") if program(path)} - {"__main__"}
    rooms = {path.parent.name for path in PACKAGE.glob("*/__main__.py")}
    assert set(COMMANDS) == files | rooms


@pytest.mark.parametrize("name", [*COMMANDS, "__main__"])
def test_every_command_runs_as_a_program_that_its_reader_may_leave(name):
    path = PACKAGE / f"{name}.py"
    assert program(path if path.exists() else PACKAGE / name / "__main__.py") == "run_as_program(main)"


def test_list_has_a_line_for_each(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 120 for line in lines)
    listed = [line.split()[2] for line in lines if line.startswith("  python -m ")]
    assert listed == [f"qsm_recon.{name}" for name in COMMANDS]


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"qsm_recon {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_the_version(name, capsys):
    """Which it cannot where two of its groups have the same option: merging branches has done that."""
    command = importlib.import_module(f"qsm_recon.{MODULES.get(name, name)}")
    with pytest.raises(SystemExit) as stopped:
        command.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith(f"qsm_recon {__version__}")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_runs_under_the_one_name_too(name, capsys):
    """``qsm-recon run …`` is ``python -m qsm_recon.run …``."""
    with pytest.raises(SystemExit) as stopped:
        main([name, "--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith(f"qsm_recon {__version__}")


def test_the_program_hands_on_words_and_code(capsys):
    assert main(["run", "--algo", "tvv", "--out", "nowhere"]) == 2
    assert "did you mean 'tv'?" in capsys.readouterr().err


def test_the_program_is_declared():
    settings = configparser.ConfigParser()
    settings.read(PACKAGE.parent / "setup.cfg", encoding="utf-8")
    (line,) = settings["options.entry_points"]["console_scripts"].split("\n")[1:]
    name, place = line.split(" = ")
    assert name == "qsm-recon"
    assert EntryPoint(name, place, "console_scripts").load() is program_of_all


def test_unknown_word_is_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["evalute"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: unknown command evalute; did you mean 'evaluate'? (known: cohort, ")
    assert len(said.splitlines()) == 1


LONG = [["qsm_recon.run", "--list"], ["qsm_recon.evaluate", "--help"]]


def start(words, **streams):
    """Start a command that writes into a pipe which nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    targets = {name: writer if target is None else target for name, target in streams.items()}
    try:
        return subprocess.Popen([sys.executable, "-m", *words], text=True, **targets)
    finally:
        os.close(writer)


def test_a_command_ends_quietly_where_its_reader_has_gone():
    processes = [start(words, stdout=None, stderr=subprocess.PIPE) for words in LONG]
    ended = [(words, process.communicate(timeout=120)[1], process.returncode)
             for words, process in zip(LONG, processes, strict=True)]  # fmt: skip
    for words, said, code in ended:
        assert said == "", words
        # Of a help text longer than the buffer the option parser itself lets go.
        assert code == 141 or (code == 0 and "--help" in words), words


def test_an_error_that_nobody_reads_ends_quietly_too():
    process = start(["qsm_recon.run", "--field", "absent.nii", "--field-unit", "Hz"], stdout=None, stderr=None)
    assert process.wait(timeout=120) == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["run", "--list"], ["run", "--help"], []], ids=" ".join)
def test_an_output_that_takes_nothing_is_one_line(words, unbuffered):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "qsm_recon", *words],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "error: the output: cannot be written (No space left on device)\n"


def test_another_error_of_the_system_is_not_hidden():
    def fail():
        raise TimeoutError("of something else")

    with pytest.raises(TimeoutError):
        run_as_program(fail)


@pytest.mark.parametrize("code", [0, 2, 3, 130])
def test_what_is_read_to_its_end_keeps_its_code(code):
    with pytest.raises(SystemExit) as stopped:
        run_as_program(lambda: code)
    assert stopped.value.code == code


@pytest.mark.parametrize("given", ["", " "])
@pytest.mark.parametrize(
    ("command", "words", "argument"),
    [
        ("qsm_recon.run", ["--out="], "--out"),
        ("qsm_recon.run", ["--out", "out", "--mask="], "--mask"),
        ("qsm_recon.lcurve", ["--out="], "--out"),
        ("qsm_recon.phantom.__main__", ["--out="], "--out"),
        ("qsm_recon.evaluate", ["chi.nii", "--truth", "t.nii", "--mask", "m.nii", "--out="], "--out"),
        ("qsm_recon.learn", ["train", "--cache", "heads", "--out="], "--out"),
        ("qsm_recon.cohort.command", [".", "", "participant"], "OUT_DIR"),
        ("qsm_recon.adapters.qsmci", ["--submission="], "--submission"),
        ("benchmarks.rating.__main__", ["a.nii", "--out="], "--out"),
    ],
)
def test_an_empty_path_is_refused(command, words, argument, given, tmp_path, monkeypatch, capsys):
    """As an unset shell variable gives; it would be the current folder."""
    monkeypatch.chdir(tmp_path)
    words = [word + given if word.endswith("=") else word or given for word in words]
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(command).main(words)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: argument {argument}: found '{given}', expected a path; is a shell variable unset?")
    assert not list(tmp_path.iterdir())
