"""What the command says about itself."""

import re

import pytest
from oracles.own import own_solvers

from qsm_recon.cohort import command as cohort
from qsm_recon.commands.options import FILE_OPTIONS
from qsm_recon.select.choosers import CHOOSERS
from qsm_recon.solvers.registry import find_solver, solvers


def test_list_names_every_algorithm(run):
    done = run("--list")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == list(solvers())
    for line, solver in zip(lines, solvers().values(), strict=True):
        assert solver.title in line
        assert solver.main_parameter().name in line


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_shows_options_and_the_default_algorithm(run, option):
    done = run(option)
    assert (done.code, done.err) == (0, "")
    for name in (*FILE_OPTIONS, "dataset", "out", "threads", "memory-limit", "device", "regularisation", "set"):
        assert f"--{name}" in done.out
    assert "algorithm fansi" in done.out


def test_help_shows_every_rule_that_select_takes(run, capsys):
    with pytest.raises(SystemExit):
        cohort.main(["--help"])
    for text in (capsys.readouterr().out, run("--help").out):
        words = " ".join(text.split()).replace("- ", "-")  # which lines may be broken after
        listed = words.partition("by a sweep first: ")[2].partition(" --")[0]
        assert re.split(", | or ", listed) == list(CHOOSERS)


@pytest.mark.parametrize("name", list(own_solvers()))
def test_help_shows_every_parameter_of_an_algorithm(run, name):
    solver = find_solver(name)
    done = run("--algo", name, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"algorithm {name}: {solver.title}" in done.out
    words = " ".join(done.out.split())
    for declared in solver.declared().values():
        assert f"{declared.name}{' (--regularisation)' if declared.main else ''}: default" in words
        assert f"unit {declared.unit}" in words
        assert " ".join(declared.help.split()) in words


def test_help_for_an_unknown_algorithm(run):
    done = run("--algo", "tkdd", "--help")
    assert (done.code, done.out) == (2, "")
    assert "did you mean 'tkd'" in done.err
