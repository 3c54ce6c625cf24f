"""Whole arrays for :mod:`qsm_recon.backend.scalars`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def smaller(one: Any, other: Any) -> NDArray:
    """See the scalar."""
    return np.minimum(one, other)


def larger(one: Any, other: Any) -> NDArray:
    """See the scalar."""
    return np.maximum(one, other)


def limited(value: Any, limit: Any) -> NDArray:
    """See the scalar."""
    return np.minimum(np.maximum(value, -limit), limit)


def chosen(condition: Any, one: Any, other: Any) -> NDArray:
    """See the scalar."""
    return np.where(condition, one, other)


def settled(condition: Any) -> bool:
    """See the scalar."""
    return bool(np.all(condition))


def nearest_whole(value: Any) -> NDArray:
    """See the scalar."""
    return np.rint(value)


def exact_sine(value: Any) -> NDArray:
    """See the scalar."""
    return np.sin(value)


def exact_cosine(value: Any) -> NDArray:
    """See the scalar."""
    return np.cos(value)


def near_sine(x: Any, one: Any) -> NDArray:
    """See the scalar."""
    return np.sin(x)


def near_cosine(x: Any, one: Any) -> NDArray:
    """See the scalar."""
    return np.cos(x)
