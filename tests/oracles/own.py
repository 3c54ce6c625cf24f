"""Methods of this package alone: plug-ins that a user has installed beside it have tests of their own."""

from collections.abc import Mapping

from qsm_recon.background.base import BackgroundRemoval
from qsm_recon.background.registry import removals
from qsm_recon.solvers.base import Solver
from qsm_recon.solvers.registry import solvers


def own_solvers() -> dict[str, type[Solver]]:
    """The solvers of this package by name."""
    return _own(solvers())


def own_removals() -> dict[str, type[BackgroundRemoval]]:
    """The removals of the background of this package by name."""
    return _own(removals())


def _own(known: Mapping[str, type]) -> dict[str, type]:
    return {name: kind for name, kind in known.items() if kind.__module__.partition(".")[0] == "qsm_recon"}
