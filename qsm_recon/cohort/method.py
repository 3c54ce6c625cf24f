"""What a cohort command does to each acquisition: options in, words for the reconstruction and a description out."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from qsm_recon.commands.background import removal_from_options
from qsm_recon.commands.options import READING_OPTIONS, RECONSTRUCTION_OPTIONS, solver_from_options
from qsm_recon.commands.words import option_words
from qsm_recon.errors import MissingDependencyError, ParameterError
from qsm_recon.solvers.base import Solver

OPTIONS = (*RECONSTRUCTION_OPTIONS, *READING_OPTIONS, "keep_stages")
IN_METHODS = ("algo", "set", "regularisation", "background", "background_set")
"""Options that the resolved methods say better."""


@dataclass(frozen=True)
class Method:
    """What is done to each acquisition.

    Parameters
    ----------
    words
        Options of ``python -m qsm_recon.run``.
    described
        The same in plain values, however it was written: equal where the results are.
    """

    words: tuple[str, ...]
    described: dict[str, Any]


def method_from_options(options: argparse.Namespace) -> Method:
    """Take the method from the command's options.

    Raises
    ------
    ParameterError
        If it is unknown, a parameter is unknown or out of range, or an option needs one file for all.
    """
    if options.reference not in ("auto", "mean", "none"):
        raise ParameterError(
            f"--reference {options.reference}: for a cohort auto, mean or none; a region is of one subject"
        )
    solver, removal = solver_from_options(options), removal_from_options(options)
    if options.select is not None:
        from qsm_recon.select.choosers import rule

        rule(options.select)
    described = {name: getattr(options, name) for name in OPTIONS if name not in IN_METHODS}
    described["algorithm"] = {"name": solver.name, **solver.parameters()}
    described["background"] = None if removal is None else {"name": removal.name, **removal.parameters()}
    return Method(tuple(option_words(options, OPTIONS)), described)


def require_libraries(kind: type[Solver]) -> None:
    """Make sure of the libraries that an algorithm needs beyond the package itself.

    Raises
    ------
    MissingDependencyError
        Naming those that are not installed.
    """
    missing = kind.missing()
    if missing:
        install = f"qsm_recon[{kind.extra}]" if kind.extra else " ".join(missing)
        raise MissingDependencyError(
            f"--algo {kind.name}: needs {' and '.join(missing)}, not installed; pip install '{install}'"
        )
