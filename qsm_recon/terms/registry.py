"""Finding terms by name, the package's own and those of installed plug-ins."""

from __future__ import annotations

from functools import cache

from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.plugins import add_plugins, plugin_names
from qsm_recon.terms.fidelity import (
    AbsoluteFidelity,
    Fidelity,
    HuberFidelity,
    NonlinearAbsoluteFidelity,
    NonlinearFidelity,
    QuadraticFidelity,
)
from qsm_recon.terms.regulariser import Regulariser, TotalGeneralisedVariation, TotalVariation

FIDELITY_GROUP, REGULARISER_GROUP = "qsm_recon.fidelities", "qsm_recon.regularisers"
_FIDELITIES: tuple[type[Fidelity], ...] = (
    QuadraticFidelity, NonlinearFidelity, AbsoluteFidelity, NonlinearAbsoluteFidelity, HuberFidelity,
)  # fmt: skip
_REGULARISERS: tuple[type[Regulariser], ...] = (TotalVariation, TotalGeneralisedVariation)


def fidelity_names() -> tuple[str, ...]:
    """Names of all fidelities; plug-ins are not loaded for it."""
    return (*(term.name for term in _FIDELITIES), *plugin_names(FIDELITY_GROUP))


def regulariser_names() -> tuple[str, ...]:
    """Names of all regularisers; plug-ins are not loaded for it."""
    return (*(term.name for term in _REGULARISERS), *plugin_names(REGULARISER_GROUP))


@cache
def fidelities() -> dict[str, type[Fidelity]]:
    """Return all known classes of data fidelities by name.

    Notes
    -----
    A plug-in package declares an entry point in the group ``qsm_recon.fidelities``, or ``qsm_recon.regularisers``,
    under the name of its class, which has a default for each of its parameters.
    """
    known = {term.name: term for term in _FIDELITIES}
    add_plugins(known, FIDELITY_GROUP, Fidelity, "fidelity")  # type: ignore[type-abstract]
    return known


@cache
def regularisers() -> dict[str, type[Regulariser]]:
    """Return all known classes of regularisers by name; see :func:`fidelities`."""
    known = {term.name: term for term in _REGULARISERS}
    add_plugins(known, REGULARISER_GROUP, Regulariser, "regulariser")  # type: ignore[type-abstract]
    return known


def find_fidelity(name: str) -> type[Fidelity]:
    """Return the fidelity of a name.

    Raises
    ------
    ParameterError
        If there is none, with the nearest name.
    """
    if name not in fidelities():
        raise ParameterError(f"fidelity: '{name}' is unknown{did_you_mean(name, fidelities())}")
    return fidelities()[name]


def find_regulariser(name: str) -> type[Regulariser]:
    """Return the regulariser of a name.

    Raises
    ------
    ParameterError
        If there is none, with the nearest name.
    """
    if name not in regularisers():
        raise ParameterError(f"regulariser: '{name}' is unknown{did_you_mean(name, regularisers())}")
    return regularisers()[name]
