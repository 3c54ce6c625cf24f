"""Minima and crossings of functions sampled at a few points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def interior_minimum(x: NDArray, y: NDArray) -> tuple[float, float] | None:
    """Lowest point of the parabola through the lowest sample and its neighbours.

    Returns
    -------
    tuple of float, or None
        Position, and by how much the lower of the two ends lies above it; None if the lowest sample is an end.
    """
    lowest = int(np.argmin(y))
    if lowest in (0, len(y) - 1):
        return None
    near = slice(lowest - 1, lowest + 2)
    second, first, _ = np.polyfit(x[near] - x[lowest], y[near], 2)
    shift = -first / (2 * second) if second > 0 else 0.0
    position = float(np.clip(x[lowest] + shift, x[lowest - 1], x[lowest + 1]))
    return position, float(min(y[0], y[-1]) - y[lowest])


def crossings(x: NDArray, y: NDArray) -> list[float]:
    """Where a piecewise linear function passes through zero, from high to low x."""
    signs = np.signbit(y)
    where = np.flatnonzero(signs[:-1] != signs[1:])[::-1]
    return [float(x[i] - y[i] * (x[i + 1] - x[i]) / (y[i + 1] - y[i])) for i in where]
