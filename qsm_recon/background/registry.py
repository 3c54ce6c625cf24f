"""Finding background removals by name, the package's own and those of installed plug-ins."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from qsm_recon.background.base import BackgroundRemoval
from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.plugins import add_plugins

ENTRY_POINT_GROUP = "qsm_recon.background"

# Each module names its methods in METHODS; new families are added here.
_MODULES = ("projection", "boundary_values", "spherical")


@cache
def removals() -> dict[str, type[BackgroundRemoval]]:
    """Return all known background removals by name.

    Notes
    -----
    A plug-in package declares an entry point in the group ``qsm_recon.background`` whose value is a
    :class:`~qsm_recon.background.base.BackgroundRemoval` subclass; see :func:`qsm_recon.plugins.add_plugins`.
    """
    known: dict[str, type[BackgroundRemoval]] = {}
    for module in _MODULES:
        for removal in import_module(f"qsm_recon.background.{module}").METHODS:
            known[removal.name] = removal
    add_plugins(known, ENTRY_POINT_GROUP, BackgroundRemoval, "background removal")  # type: ignore[type-abstract]
    return known


def find_removal(name: str) -> type[BackgroundRemoval]:
    """Return the class of a background removal.

    Raises
    ------
    ParameterError
        If there is none, with the nearest name.
    """
    known = removals()
    if name not in known:
        raise ParameterError(f"background removal '{name}' is unknown{did_you_mean(name, known)}")
    return known[name]


def make_removal(name: str, **parameters: Any) -> BackgroundRemoval:
    """Make a background removal from its name and parameters.

    Raises
    ------
    ParameterError
        If the name or a parameter is unknown, or a value is out of range.
    """
    removal = find_removal(name)
    removal.require_known(parameters)
    return removal(**parameters)
