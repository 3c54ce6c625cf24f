"""Finding solvers by name, and those of other packages."""

import ast
import textwrap

import pytest
from oracles.own import own_solvers

from qsm_recon.errors import ParameterError
from qsm_recon.solvers.registry import find_solver, make_solver, solvers

PLUGIN = '''
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from qsm_recon.result import Reconstruction
from qsm_recon.solvers.base import Solver
from qsm_recon.solvers.parameters import parameter


@dataclass(frozen=True)
class Scaled(Solver):
    """The field times a factor."""

    name: ClassVar[str] = "scaled"
    title: ClassVar[str] = "The field times a factor"
    citation: ClassVar[str] = "nobody"
    iterative: ClassVar[bool] = False
    factor: float = parameter(3.0, "1", "what to multiply by", low=0, high=10, main=True)

    def _solve(self, problem, callback, start_ppm):
        chi = np.where(problem.mask, self.factor * problem.field_ppm, 0).astype(np.float32)
        return Reconstruction(chi, problem.mask, self.name, self.parameters(), True, "closed form")


class Impostor(Scaled):
    name = "tkd"


@dataclass(frozen=True)
class Nameless(Solver):
    title: ClassVar[str] = "The field"
    citation: ClassVar[str] = "nobody"
    factor: float = parameter(3.0, "1", "what to multiply by", low=0, high=10, main=True)

    def _solve(self, problem, callback, start_ppm):
        return None


class Untitled(Nameless):
    name = "untitled"
    title = None


not_a_solver = 7
'''

RUN = """
import logging, sys
import numpy as np
logging.basicConfig(stream=sys.stdout, format="%(message)s")
from qsm_recon.errors import ParameterError
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.solvers.registry import make_solver, solvers
try:
    print(sorted(solvers()))
    field = 0.01 * np.arange(27, dtype=np.float32).reshape(3, 3, 3)
    problem = Problem(field, field >= 0, Grid((3, 3, 3)), field_kind="local")
    result = make_solver("scaled", factor=2.0).solve(problem)
    print(round(float(np.ptp(result.susceptibility_ppm)), 3), result.parameters)
    make_solver("scaled", factor=11.0)
except ParameterError as error:
    print(error)
"""


@pytest.fixture
def install(tmp_path, run_python):
    """Install a package with given entry points next to ours, run, and return what was printed."""

    def run(*entry_points):
        (tmp_path / "tiny_plugin.py").write_text(PLUGIN)
        metadata = tmp_path / "tiny_plugin-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-plugin\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text("\n".join(["[qsm_recon.solvers]", *entry_points, ""]))
        return run_python(textwrap.dedent(RUN), PYTHONPATH=str(tmp_path)).splitlines()

    return run


def test_solver_of_another_package_is_found_and_runs(install):
    names, numbers, error = install("scaled = tiny_plugin:Scaled")[-3:]
    assert {*own_solvers(), "scaled"} <= set(ast.literal_eval(names))
    assert numbers == "0.52 {'factor': 2.0}"
    assert error.startswith("factor: 11 is out of range; expected 0 … 10")


def test_broken_plugin_is_reported_and_left_out(install):
    *reports, names, _, _ = install(
        "broken = tiny_plugin:Missing", "gone = no_such_module:X", "scaled = tiny_plugin:Scaled"
    )
    assert "plug-in solver 'gone' (no_such_module:X) cannot be loaded: No module named 'no_such_module'" in reports
    assert {*own_solvers(), "scaled"} <= set(ast.literal_eval(names))
    assert not {"broken", "gone"} & set(ast.literal_eval(names))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("tkd = tiny_plugin:Impostor", "plug-in 'tkd' (tiny_plugin:Impostor) takes the name of solver 'tkd'"),
        (
            "none = tiny_plugin:Nameless",
            "plug-in 'none' (tiny_plugin:Nameless) has no name; declare name: ClassVar[str] = \"…\"",
        ),
        (
            "none = tiny_plugin:Untitled",
            "plug-in 'none' (tiny_plugin:Untitled) has no title; declare title: ClassVar[str] = \"…\"",
        ),
        ("seven = tiny_plugin:not_a_solver", "plug-in 'seven' (tiny_plugin:not_a_solver) is not a Solver class"),
    ],
)
def test_plugin_that_cannot_be_accepted_is_an_error(install, entry, message):
    assert install(entry)[-1] == message


def test_names_of_the_own_solvers():
    assert {"tkd", "tsvd", "tikhonov", "tv", "fansi"} <= set(solvers())
    assert all(find_solver(name).name == name for name in solvers())


def test_unknown_name_is_refused_with_the_near_match():
    with pytest.raises(ParameterError, match="algorithm 'fanzi' is unknown; did you mean 'fansi'"):
        make_solver("fanzi")
