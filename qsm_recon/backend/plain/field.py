"""Plain numpy for :mod:`qsm_recon.backend.field_kernels`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.field_kernels import FURTHER_STEPS_SINGLE, NEWTON_STEPS_DOUBLE
from qsm_recon.backend.plain.arrays import clip, planes, square, total

Scalar = np.floating
Sums = tuple[float, float, float, float, float]
SLOPE_FLOOR, DAMPING = 0.1, 0.6


def _bounded_step(value: NDArray, slope: NDArray, largest: float) -> NDArray:
    return clip(value / np.maximum(slope, SLOPE_FLOOR), largest)


def _curved_step(value: NDArray, slope: NDArray, curvature: NDArray) -> NDArray:
    newton = _bounded_step(value, slope, 1.0)
    correction = 1.0 - 0.5 * newton * curvature / np.maximum(slope, SLOPE_FLOOR)
    return clip(newton / np.minimum(np.maximum(correction, 0.5), 2.0), 1.0)


def unweighted_ends(weight: NDArray) -> NDArray[np.bool_]:
    """Mark what lies before the first and behind the last weight of a row that is not zero."""
    there = weight != 0
    begun = np.logical_or.accumulate(there, axis=-1)
    to_come = np.logical_or.accumulate(there[..., ::-1], axis=-1)[..., ::-1]
    return ~(begun & to_come)


def _sums(fidelity: NDArray, field: NDArray, new: NDArray, old: NDArray, dual: NDArray) -> Sums:
    return (
        total(fidelity),
        total(square(field - new)),
        total(square(new - old)),
        total(square(new)),
        total(square(dual)),
    )


def quadratic_step(
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
    q = z + relaxation * (p - z) + dual_scale * w * (z - phi)
    new = (w * phi + penalty * q) / (w + penalty)
    s = q - new
    sums = _sums(0.5 * w * square(p - phi), p, new, z, s)
    z[...] = new
    p[...] = new - s
    return sums


def nonlinear_step_single(
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
    a, start = w / penalty, z - phi
    sine, cosine = np.sin(start), np.cos(start)
    convex = (cosine > 0.5) | (relaxation == 1)
    factor = np.where(convex | (a == 0), relaxation, DAMPING).astype(p.dtype)
    r = start + factor * (p - z) + dual_scale * w * sine
    residual = a * sine + start - r
    d = start - _curved_step(residual, a * cosine + 1, -a * sine)
    for _ in range(FURTHER_STEPS_SINGLE):
        sine, cosine = np.sin(d), np.cos(d)
        d = d - _curved_step(a * sine + d - r, a * cosine + 1, -a * sine)
    d = np.where(convex, d, start - residual / (1 + a))
    free = unweighted_ends(w)
    new = np.where(free, z + relaxation * (p - z), phi + d)
    s = np.where(free, 0, r - d)
    fidelity = np.where(free, 0, 2 * w * square(np.sin(0.5 * (p - phi))))
    sums = _sums(fidelity, p, new, z, s)
    z[...] = new
    p[...] = new - s
    return sums


def nonlinear_step_double(
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
    a, start = w / penalty, z - phi
    convex = (np.cos(start) > 0.5) | (relaxation == 1.0)
    factor = np.where(convex | (a == 0), relaxation, DAMPING)
    r = start + factor * (p - z) + dual_scale * w * np.sin(start)
    d, moving = start, convex
    for _ in range(NEWTON_STEPS_DOUBLE):
        if not moving.any():
            break
        step = _bounded_step(a * np.sin(d) + d - r, a * np.cos(d) + 1.0, 1.0)
        d = np.where(moving, d - step, d)
        moving = moving & ~(np.abs(step) <= 1e-15 * (1.0 + np.abs(d)))
    d = np.where(convex, d, start - (a * np.sin(start) + start - r) / (1.0 + a))
    new, s = phi + d, r - d
    sums = _sums(2.0 * w * square(np.sin(0.5 * (p - phi))), p, new, z, s)
    z[...] = new
    p[...] = new - s
    return sums


def masked_decay_step(
    predicted: NDArray, split: NDArray, mask: NDArray, first: int, nz: int, ratio: Scalar, relaxation: Scalar
) -> Sums:
    """See the kernel."""
    p, z, m = planes(predicted, first, nz, split, mask)
    factor = ratio * m
    q = z + relaxation * (p - z) + factor * z
    new = q / (1 + factor)
    s = q - new
    sums = _sums(m * square(p), p, new, z, s)
    z[...] = new
    p[...] = new - s
    return sums
