"""Methods and terms that other installed packages bring: entry points of a group, loaded by one rule."""

from __future__ import annotations

import logging
from importlib.metadata import entry_points
from typing import ClassVar, Protocol, TypeVar

from qsm_recon.errors import ParameterError

logger = logging.getLogger(__name__)


FACTS = ("name", "title", "citation")
"""What a class says of itself, as far as its base asks for it."""


class Named(Protocol):
    """What can be found by its name."""

    name: ClassVar[str]


Kind = TypeVar("Kind", bound=Named)


def plugin_names(group: str) -> tuple[str, ...]:
    """Names of a group's entry points; nothing is loaded."""
    return tuple(entry.name for entry in entry_points(group=group))


def add_plugins(known: dict[str, type[Kind]], group: str, base: type[Kind], what: str) -> None:
    """Add the classes that packages declare as entry points.

    Parameters
    ----------
    known
        Classes by name, extended.
    group
        Name of the entry points' group.
    base
        What a class must be derived from.
    what
        What they are, for messages.

    Raises
    ------
    ParameterError
        If one is not such a class, lacks its name, title or citation, or takes the name of another.

    Notes
    -----
    One that cannot be imported is reported in the log and left out.
    """
    for entry in entry_points(group=group):
        try:
            found = entry.load()
        except Exception as error:  # whatever a foreign package raises must not stop ours
            logger.warning("plug-in %s '%s' (%s) cannot be loaded: %s", what, entry.name, entry.value, error)
            continue
        if not (isinstance(found, type) and issubclass(found, base)):
            raise ParameterError(f"plug-in '{entry.name}' ({entry.value}) is not a {base.__name__} class")
        for fact in FACTS:
            said = any(fact in vars(kind).get("__annotations__", {}) for kind in base.__mro__)
            if said and not isinstance(getattr(found, fact, None), str):
                raise ParameterError(
                    f"plug-in '{entry.name}' ({entry.value}) has no {fact}; declare {fact}: ClassVar[str] = \"…\""
                )
        if found.name in known:
            raise ParameterError(f"plug-in '{entry.name}' ({entry.value}) takes the name of {what} '{found.name}'")
        known[found.name] = found
