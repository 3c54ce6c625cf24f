"""Laws: methods of a class that raise where they do not hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

Method = TypeVar("Method", bound=Callable)


class BrokenLawError(AssertionError):
    """A law does not hold."""


def require(condition: object, otherwise: str) -> None:
    """Raise :class:`BrokenLawError` with a text unless a condition holds."""
    if not condition:
        raise BrokenLawError(otherwise)


def require_error(error: type[Exception], text: str, action: Callable[[], object]) -> None:
    """Require that an action raises an error whose message holds a text."""
    try:
        action()
    except error as raised:
        require(text in str(raised), f"expected '{text}' in the error, found '{raised}'")
        return
    raise BrokenLawError(f"expected a {error.__name__} with '{text}', nothing was raised")


def relative_error(found: ArrayLike, expected: ArrayLike) -> float:
    """Norm of a difference over that of what is expected."""
    one, other = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return float(np.linalg.norm(one - other) / max(float(np.linalg.norm(other)), 1e-300))


def require_close(found: ArrayLike, expected: ArrayLike, largest: float, what: str) -> None:
    """Require a :func:`relative_error` of at most ``largest``."""
    error = relative_error(found, expected)
    require(error <= largest, f"{what}: expected a relative difference of at most {largest:g}, found {error:.3g}")


def law(method: Method) -> Method:
    """Mark a method as a law."""
    method.is_law = True  # type: ignore[attr-defined]
    return method


class Laws:
    """A set of laws: the methods that are marked as such."""

    @classmethod
    def names(cls) -> list[str]:
        """Names of the laws, as they are written."""
        return [name for name, method in vars(cls).items() if getattr(method, "is_law", False)]

    def check(self, name: str) -> None:
        """Check one law.

        Raises
        ------
        BrokenLawError
            If it does not hold.
        """
        getattr(self, name)()
