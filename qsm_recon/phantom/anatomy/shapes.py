"""Signed distances (mm, negative inside) of simple bodies, and smooth ways to join them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class Points:
    """Coordinates in mm: x to the right, y to the front, z up, from near the anterior commissure.

    ``a`` is the distance to the mid-sagittal plane, for structures found on both sides.
    """

    x: FloatArray
    y: FloatArray
    z: FloatArray

    @property
    def a(self) -> FloatArray:
        """Lateral coordinate |x|."""
        return np.abs(self.x)


def smooth_min(first: FloatArray, second: FloatArray, radius_mm: float) -> FloatArray:
    """Union of two bodies with a fillet of the given size."""
    blend = np.maximum(radius_mm - np.abs(first - second), 0) / np.float32(radius_mm)
    return np.minimum(first, second) - blend * blend * np.float32(radius_mm / 4)


def smooth_max(first: FloatArray, second: FloatArray, radius_mm: float) -> FloatArray:
    """Intersection of two bodies with a rounded edge of the given size."""
    return -smooth_min(-first, -second, radius_mm)


def smooth_step(value: FloatArray, low: float, high: float) -> FloatArray:
    """Rise from 0 at ``low`` to 1 at ``high`` with zero slope at both ends."""
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return t * t * (3 - 2 * t)


def ellipsoid(
    u: FloatArray, v: FloatArray, w: FloatArray, centre: Sequence[float], half_axes: Sequence[float]
) -> FloatArray:
    """First-order distance to an axis-aligned ellipsoid; rotate the coordinates beforehand where it is tilted."""
    p = [(c - np.float32(m)) / np.float32(h) for c, m, h in zip((u, v, w), centre, half_axes, strict=True)]
    k0 = np.sqrt(p[0] ** 2 + p[1] ** 2 + p[2] ** 2)
    k1 = np.sqrt(sum((q / np.float32(h)) ** 2 for q, h in zip(p, half_axes, strict=True)))
    return k0 * (k0 - 1) / np.maximum(k1, np.float32(1e-6))


def superellipsoid(
    u: FloatArray, v: FloatArray, w: FloatArray, centre: Sequence[float], half_axes: Sequence[float], exponent: float
) -> FloatArray:
    """First-order distance to a superellipsoid (2 is an ellipsoid, larger is boxier)."""
    n = np.float32(exponent)
    p = [
        np.abs((c - np.float32(m)) / np.float32(h)) + np.float32(1e-4)
        for c, m, h in zip((u, v, w), centre, half_axes, strict=True)
    ]
    rho = (p[0] ** n + p[1] ** n + p[2] ** n) ** (1 / n)
    slope = np.sqrt(sum((q ** (n - 1) / np.float32(h)) ** 2 for q, h in zip(p, half_axes, strict=True)))
    return (rho - 1) / np.maximum(slope * rho ** (1 - n), np.float32(1e-3))


def tube(u: FloatArray, v: FloatArray, w: FloatArray, nodes: ArrayLike, fillet_mm: float = 2.0) -> FloatArray:
    """Distance to a bent tube.

    Parameters
    ----------
    u, v, w
        Coordinates.
    nodes
        (n, 4): position and radius of each node of the centre line, mm.
    fillet_mm
        Rounding of the joints.
    """
    table = np.asarray(nodes, dtype=np.float32)
    distance: FloatArray | None = None
    for start, end in pairwise(table):
        along = end[:3] - start[:3]
        du, dv, dw = u - start[0], v - start[1], w - start[2]
        t = np.clip((du * along[0] + dv * along[1] + dw * along[2]) / np.dot(along, along), 0, 1)
        radius = start[3] + t * (end[3] - start[3])
        part = np.sqrt((du - t * along[0]) ** 2 + (dv - t * along[1]) ** 2 + (dw - t * along[2]) ** 2) - radius
        distance = part if distance is None else smooth_min(distance, part, fillet_mm)
    if distance is None:
        raise ValueError("a tube needs at least two nodes")
    return distance


def rotated(p: FloatArray, q: FloatArray, centre: tuple[float, float], degrees: float) -> tuple[FloatArray, FloatArray]:
    """Rotate a pair of coordinates about a point of their plane; returns coordinates relative to that point."""
    c, s = np.float32(np.cos(np.radians(degrees))), np.float32(np.sin(np.radians(degrees)))
    dp, dq = p - np.float32(centre[0]), q - np.float32(centre[1])
    return c * dp + s * dq, c * dq - s * dp


def sheet(distance: FloatArray, *overshoots: FloatArray) -> FloatArray:
    """Distance to a bounded sheet: ``distance`` to the full surface, and how far one is past each of its edges."""
    total = distance * distance
    for past in overshoots:
        total = total + np.maximum(past, 0) ** 2
    return np.sqrt(total)
