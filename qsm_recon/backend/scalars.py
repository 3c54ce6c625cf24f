"""What the scalar steps of terms are written with, so that one text serves compiled loops and whole arrays.

Beside these, such a step may use arithmetic, comparisons, ``abs``, and loops of a fixed length.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from qsm_recon.backend.jit import inline
from qsm_recon.backend.trigonometry import sine_cosine

Scalar = Any  # a number of any precision, or an array of them

# Whole numbers of single precision are exact, and give fractions of the precision of what they divide.
_FACTORIALS = tuple(np.float32(f) for f in (2, 6, 24, 120, 720, 5040, 40320, 362880, 3628800, 39916800, 479001600))
F2, F3, F4, F5, F6, F7, F8, F9, F10, F11, F12 = _FACTORIALS

__all__ = ["chosen", "exact_cosine", "exact_sine", "larger", "limited", "near_cosine", "near_sine",
           "nearest_whole", "settled",
           "sine_cosine", "smaller"]  # fmt: skip


@inline
def smaller(one: Scalar, other: Scalar) -> Scalar:
    """Return the smaller number."""
    return min(one, other)


@inline
def larger(one: Scalar, other: Scalar) -> Scalar:
    """Return the larger number."""
    return max(one, other)


@inline
def limited(value: Scalar, limit: Scalar) -> Scalar:
    """Return what is nearest to a value in [-limit, limit]."""
    return min(max(value, -limit), limit)


@inline
def chosen(condition: Any, one: Scalar, other: Scalar) -> Scalar:
    """Return one number where a condition holds, else the other; both are computed."""
    return one if condition else other


@inline
def settled(condition: Any) -> Any:
    """Whether a condition holds, of arrays everywhere: to leave a loop."""
    return condition


@inline
def nearest_whole(value: Scalar) -> Scalar:
    """Return the nearest whole number."""
    return np.rint(value)


@inline
def exact_sine(value: Scalar) -> Scalar:
    """Return the library's sine, which compilers do not vectorise: for double precision."""
    return math.sin(value)


@inline
def exact_cosine(value: Scalar) -> Scalar:
    """Return the library's cosine."""
    return math.cos(value)


@inline
def near_cosine(x: Scalar, one: Scalar) -> Scalar:
    """Return cos(x) for |x| ≤ ½, in the precision of a one: the first terms of its series."""
    q = x * x
    return one - q * (one / F2 - q * (one / F4 - q * (one / F6 - q * (one / F8 - q * (one / F10 - q * (one / F12))))))


@inline
def near_sine(x: Scalar, one: Scalar) -> Scalar:
    """Return sin(x) for |x| ≤ ½."""
    q = x * x
    return x * (one - q * (one / F3 - q * (one / F5 - q * (one / F7 - q * (one / F9 - q * (one / F11))))))
