"""Plain numpy for :mod:`qsm_recon.backend.held_kernels`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.held_kernels import LIMIT, NEWTON_STEPS
from qsm_recon.backend.plain.arrays import clip, planes, square, total

Scalar = np.floating
Sums = tuple[float, float, float, float, float]
END = float(LIMIT)


def _between(values: NDArray) -> NDArray:
    """Keep to [0, limit]."""
    return np.asarray(np.minimum(np.maximum(values, 0), END))


def held_step(
    predicted: NDArray,
    state: NDArray,
    measured: NDArray,
    weight: NDArray,
    first: int,
    nz: int,
    penalty: Scalar,
    relaxation: Scalar,
) -> Sums:
    """See the kernel."""
    p, u, phi, w = planes(predicted, first, nz, state, measured, weight)
    residual = p - phi
    threshold = w / penalty
    bend = END + threshold * math.cos(0.5 * END)
    beyond = np.abs(u) - threshold
    e_old = _between(beyond)
    size_old = e_old + threshold * np.cos(0.5 * e_old)
    far = beyond > END
    size_old = np.where(far, beyond - END + bend, size_old)
    e_old = np.where(far, np.maximum(END, size_old - threshold), e_old)
    s_old = np.where(beyond > 0, size_old - e_old, np.abs(u))
    side = np.where(u < 0, -1, 1).astype(p.dtype)
    d_old = side * e_old
    r = d_old + relaxation * (residual - d_old) + side * s_old
    size = np.abs(r)
    e = _between(size - threshold)
    for _ in range(NEWTON_STEPS):
        slope = np.maximum(1 - 0.5 * threshold * np.sin(0.5 * e), 0.125)
        e = _between(e - (threshold * np.cos(0.5 * e) + e - size) / slope)
    stored = threshold + e
    far = size > bend
    e = np.where(far, np.maximum(END, size - threshold), e)
    stored = np.where(far, threshold + END + size - bend, stored)
    held = size <= threshold
    e, stored = np.where(held, 0, e), np.where(held, size, stored)
    side = np.where(r < 0, -1, 1).astype(p.dtype)
    d, s = side * e, side * (size - e)
    distance = np.abs(residual)
    near = np.minimum(distance, END)
    sums = (
        total(w * (2 * np.sin(0.5 * near) + (distance - near))),
        total(square(residual - d)),
        total(square(d - d_old)),
        total(square(phi + d)),
        total(square(s)),
    )
    u[...] = side * stored
    p[...] = phi + d - s
    return sums


def held_square_step(
    predicted: NDArray,
    split: NDArray,
    measured: NDArray,
    weight: NDArray,
    first: int,
    nz: int,
    dual_scale: Scalar,
    penalty: Scalar,
    relaxation: Scalar,
) -> Sums:
    """See the kernel."""
    p, z, phi, w = planes(predicted, first, nz, split, measured, weight)
    end_slope = math.sin(END)
    a, start = w / penalty, z - phi
    near = clip(start, END)
    r = start + relaxation * (p - z) + dual_scale * w * (np.sin(near) + start - near)
    size = np.abs(r)
    e = np.minimum(size / (1 + a), END)
    for _ in range(NEWTON_STEPS):
        e = _between(e - (a * np.sin(e) + e - size) / (1 + a * np.cos(e)))
    bend = END + a * end_slope
    e = np.where(size > bend, END + (size - bend) / (1 + a), e)
    d = np.where(r < 0, -e, e)
    new, s = phi + d, r - d
    distance = np.abs(p - phi)
    inner = np.minimum(distance, END)
    outer = distance - inner
    sums = (
        total(w * (2 * square(np.sin(0.5 * inner)) + outer * (end_slope + 0.5 * outer))),
        total(square(p - new)),
        total(square(new - z)),
        total(square(new)),
        total(square(s)),
    )
    z[...] = new
    p[...] = new - s
    return sums
