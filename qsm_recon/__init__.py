"""Quantitative susceptibility mapping: the methods of the 2019 reconstruction challenge on one fast operator.

>>> from qsm_recon import Grid, Problem, make_solver
>>> problem = Problem(field_ppm, mask, Grid(field_ppm.shape, voxel_size_mm=(1, 1, 1)))  # doctest: +SKIP
>>> result = make_solver("fansi", regularisation_weight=1e-3).solve(problem)  # doctest: +SKIP

Names are imported when first used, so that importing the package is quick.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from qsm_recon.interruption import end_by_one_line, runs_as_program
from qsm_recon.version import __version__

if runs_as_program():  # before what takes its time to import
    end_by_one_line()

if TYPE_CHECKING:
    from qsm_recon.datasets.case import Case
    from qsm_recon.datasets.files import case_from_files
    from qsm_recon.datasets.registry import load_case
    from qsm_recon.errors import DataError, ParameterError, QSMError, ResourceError
    from qsm_recon.metrics import evaluate
    from qsm_recon.operators.dipole import DipoleOperator
    from qsm_recon.operators.grid import Grid
    from qsm_recon.problem import Problem
    from qsm_recon.report.tuning import TuningSession, tune
    from qsm_recon.result import IterationState, Reconstruction
    from qsm_recon.solvers.base import Solver
    from qsm_recon.solvers.registry import make_solver

_HOME = {
    "Case": "datasets.case",
    "case_from_files": "datasets.files",
    "load_case": "datasets.registry",
    "DataError": "errors",
    "ParameterError": "errors",
    "QSMError": "errors",
    "ResourceError": "errors",
    "evaluate": "metrics",
    "DipoleOperator": "operators.dipole",
    "Grid": "operators.grid",
    "Problem": "problem",
    "IterationState": "result",
    "Reconstruction": "result",
    "Solver": "solvers.base",
    "make_solver": "solvers.registry",
    "TuningSession": "report.tuning",
    "tune": "report.tuning",
}

__all__ = [
    "Case",
    "DataError",
    "DipoleOperator",
    "Grid",
    "IterationState",
    "ParameterError",
    "Problem",
    "QSMError",
    "Reconstruction",
    "ResourceError",
    "Solver",
    "TuningSession",
    "__version__",
    "case_from_files",
    "evaluate",
    "load_case",
    "make_solver",
    "tune",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _HOME:
        return getattr(import_module(f"qsm_recon.{_HOME[name]}"), name)
    raise AttributeError(f"module 'qsm_recon' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """The package, whose ``evaluate`` is the function whatever has been imported.

    Importing the command ``qsm_recon.evaluate`` would put the module of that name in its place.
    """

    @property
    def evaluate(self) -> Any:
        """See :func:`qsm_recon.metrics.evaluate`."""
        return __getattr__("evaluate")

    @evaluate.setter
    def evaluate(self, module: ModuleType) -> None:
        """Do nothing: the import system offers the module, which it finds in ``sys.modules`` as well."""


sys.modules[__name__].__class__ = _Package
