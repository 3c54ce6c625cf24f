"""Finding solvers by name, the package's own and those of installed plug-ins."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.plugins import add_plugins
from qsm_recon.solvers.base import Solver

ENTRY_POINT_GROUP = "qsm_recon.solvers"

# Each module names its solvers in SOLVERS; new families are added here.
_MODULES = (
    "direct",
    "total_variation",
    "medi",
    "total_field",
    "multi_echo",
    "generalised_variation",
    "absolute",
    "hybrid",
    "weak_harmonic",
    "generic",
    "descent",
    "two_step",
    "learned",
)


@cache
def solvers() -> dict[str, type[Solver]]:
    """Return all known solver classes by name.

    Notes
    -----
    A plug-in package declares an entry point in the group ``qsm_recon.solvers`` whose value is a
    :class:`~qsm_recon.solvers.base.Solver` subclass; see :func:`qsm_recon.plugins.add_plugins`.
    """
    known: dict[str, type[Solver]] = {}
    for module in _MODULES:
        for solver in import_module(f"qsm_recon.solvers.{module}").SOLVERS:
            known[solver.name] = solver
    add_plugins(known, ENTRY_POINT_GROUP, Solver, "solver")  # type: ignore[type-abstract]
    return known


def find_solver(name: str) -> type[Solver]:
    """Return the solver class of a name.

    Raises
    ------
    ParameterError
        If there is none, with the nearest name.
    """
    known = solvers()
    if not isinstance(name, str) or name not in known:
        raise ParameterError(f"algorithm '{name}' is unknown{did_you_mean(name, known)}")
    return known[name]


def make_solver(name: str, **parameters: Any) -> Solver:
    """Make a solver from its name and parameters.

    Raises
    ------
    ParameterError
        If the name or a parameter is unknown, or a value is out of range.
    """
    solver = find_solver(name)
    solver.require_known(parameters)
    return solver(**parameters)
