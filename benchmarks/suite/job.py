"""What one row of a table asks for, and the checksum that tells whether it has been answered already."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from inspect import getsource
from pathlib import Path
from typing import Any

import qsm_recon
from benchmarks.suite.cases import data_digest, portable
from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.select.choosers import CHOOSERS
from qsm_recon.solvers.base import Solver
from qsm_recon.solvers.registry import make_solver

SCHEMA = 3
"""Raised whenever the same job is measured in another way."""
FIXED = "fixed:"
WITHOUT_NUMBERS = (
    "report",
    "commands",
    "cohort",
    "adapters",
    "run.py",
    "lcurve.py",
    "evaluate.py",
    "phantom/__main__.py",
    "learn.py",
)
"""Files of the package (beginnings of their paths) on which no figure depends."""


@dataclass(frozen=True)
class Job:
    """One reconstruction that is measured.

    Parameters
    ----------
    solver
        Name of the method.
    case
        Data set, see :func:`benchmarks.suite.cases.load`.
    weight
        How the main parameter is found: ``default``, ``fixed:VALUE``, ``truth`` (smallest NRMSE, the truth in hand), or
        a rule of :data:`qsm_recon.select.choosers.CHOOSERS`, which does not know the truth.
    parameters
        Other parameters of the method, as sorted pairs; :meth:`of` takes them by name.
    magnitude
        Whether the method gets more than the field and the mask.
    prepare
        ``MODULE:FUNCTION`` or ``FILE.py:FUNCTION`` that is given the case and returns another.
    measure
        The same for a function of case and reconstruction that returns further numbers by name.

    Raises
    ------
    ParameterError
        If the way to the weight is unknown.
    """

    solver: str
    case: str
    weight: str = "default"
    parameters: tuple[tuple[str, Any], ...] = ()
    magnitude: bool = True
    prepare: str = ""
    measure: str = ""

    def __post_init__(self) -> None:
        """Check how the weight is found."""
        known = ("default", "truth", *CHOOSERS)
        if self.weight not in known and self.fixed_value is None:
            raise ParameterError(f"weight '{self.weight}' is unknown{did_you_mean(self.weight, known)}")

    @classmethod
    def of(
        cls, solver: str, case: str, weight: str | float = "default", parameters: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Job:  # fmt: skip
        """Make a job; a number as the weight fixes it."""
        text = weight if isinstance(weight, str) else f"{FIXED}{weight:.6g}"
        return cls(solver, case, text, tuple(sorted((parameters or {}).items())), **more)

    @classmethod
    def again(cls, description: Mapping[str, Any], weight: float | None) -> Job:
        """The reconstruction of a job that was run, without the search for its weight.

        Parameters
        ----------
        description
            What :meth:`description` gave.
        weight
            What the search found; of no account where the default was taken, which follows the data.

        Raises
        ------
        ParameterError
            If the job had functions of a file, whose place is not known.
        """
        if description["prepare"] or description["measure"]:
            raise ParameterError(
                f"{description['solver']}: the record does not hold what was done to its data; run it again"
            )
        chosen = "default" if description["weight"] == "default" or weight is None else weight
        return cls.of(
            description["solver"], description["case"], chosen, description["parameters"],
            magnitude=description["magnitude"],
        )  # fmt: skip

    @property
    def fixed_value(self) -> float | None:
        """The weight that is given; None where it is to be found."""
        if not self.weight.startswith(FIXED):
            return None
        try:
            return float(self.weight.removeprefix(FIXED))
        except ValueError as error:
            raise ParameterError(f"weight '{self.weight}': expected {FIXED}NUMBER") from error

    def make_solver(self) -> Solver:
        """The method with its parameters, and the weight where it is given."""
        solver = make_solver(self.solver, **dict(self.parameters))
        return solver if self.fixed_value is None else solver.with_regularisation(self.fixed_value)

    def description(self) -> dict[str, Any]:
        """What is asked, without paths of this machine."""
        return {
            "solver": self.solver,
            "case": portable(self.case),
            "weight": self.weight,
            "parameters": dict(self.parameters),
            "magnitude": self.magnitude,
            "prepare": Path(self.prepare).name,
            "measure": Path(self.measure).name,
        }

    def key(self) -> str:
        """Checksum of the job, the data, and the program that answers it.

        Raises
        ------
        DataError
            If the data are not there.
        """
        program = [SCHEMA, sources_version(), *(getsource(load_function(n)) for n in (self.prepare, self.measure) if n)]
        return _digest([self.description(), data_digest(self.case), program])

    def __str__(self) -> str:
        """The job in one line."""
        chosen = " ".join(f"{name}={value}" for name, value in self.parameters)
        parts = [self.solver, chosen, portable(self.case), "" if self.magnitude else "field only", self.prepare]
        return " ".join([*filter(None, parts), f"({self.weight})"])


def load_function(name: str) -> Any:
    """Find a function by ``MODULE:FUNCTION`` or ``FILE.py:FUNCTION``.

    Raises
    ------
    ParameterError
        If it is not there.
    """
    place, colon, function = name.rpartition(":")
    if not colon or not place or not function.isidentifier():
        raise ParameterError(f"function '{name}': expected MODULE:FUNCTION or FILE.py:FUNCTION")
    try:
        module = load_file(place) if place.endswith(".py") else import_module(place)
        return getattr(module, function)
    except (ImportError, AttributeError) as error:
        raise ParameterError(f"function '{name}': {error}") from error


def load_file(path: str) -> Any:
    """Import a Python file by its path.

    Raises
    ------
    ParameterError
        If there is none.
    """
    if not Path(path).is_file():
        raise ParameterError(f"{path}: no such file; expected one with Python code")
    spec = spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def sources_version() -> str:
    """Checksum of the package's code; comments, docstrings, commands and reports do not count."""
    root = Path(qsm_recon.__file__).parent
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.py"))
    counted = [name for name in names if not name.startswith(WITHOUT_NUMBERS) and name != "version.py"]
    return _digest([[name, _code(root / name)] for name in counted])


def _code(path: Path) -> str:
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                part for part in body
                if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
            ]  # fmt: skip
    return ast.dump(tree)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:24]
