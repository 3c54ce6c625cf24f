"""Plain numpy for :mod:`qsm_recon.backend.l1_kernels`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.l1_kernels import NEWTON_STEPS_DOUBLE, NEWTON_STEPS_SINGLE
from qsm_recon.backend.plain.arrays import clip, planes, square, total
from qsm_recon.backend.plain.field import unweighted_ends

Scalar = np.floating
Sums = tuple[float, float, float, float, float]
TURN = 2 * math.pi
TINY = 1e-6


def _sums(fidelity: NDArray, residual: NDArray, new: NDArray, old: NDArray, measured: NDArray, dual: NDArray) -> Sums:
    return (
        total(fidelity),
        total(square(residual - new)),
        total(square(new - old)),
        total(square(measured + new)),
        total(square(dual)),
    )


def absolute_step(
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
    s_old = clip(u, threshold)
    d_old = u - s_old
    r = d_old + relaxation * (residual - d_old) + s_old
    s = clip(r, threshold)
    d = r - s
    sums = _sums(w * np.abs(residual), residual, d, d_old, phi, s)
    u[...] = r
    p[...] = phi + d - s
    return sums


def _turns(values: NDArray) -> NDArray:
    """The whole turns (in rad) that are nearest to angles."""
    return np.asarray(TURN * np.rint(values / TURN)).astype(values.dtype)


def chord_step_single(
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
    contraction = 1 - threshold / math.pi
    turn = _turns(u)
    s_old = clip(u - turn, threshold)
    e_old = (u - turn - s_old) / np.maximum(contraction, TINY)
    d_old = turn + e_old
    e_old = d_old - _turns(d_old)
    r = d_old + relaxation * (residual - d_old) + s_old * np.cos(0.5 * e_old)
    turn = _turns(r)
    size = np.abs(r - turn)
    excess = np.maximum(size - threshold, 0)
    e = np.minimum(excess / np.maximum(1 - 0.125 * threshold * excess, 0.5), math.pi)
    for _ in range(NEWTON_STEPS_SINGLE):
        slope = np.maximum(1 - 0.5 * threshold * np.sin(0.5 * e), 0.1)
        e = np.maximum(e - clip((threshold * np.cos(0.5 * e) + e - size) / slope, 1.0), 0)
    away = size > threshold
    e = np.where(away, e, 0)
    sign = np.where(r < turn, -1, 1).astype(p.dtype)
    free = unweighted_ends(w)
    old = np.where(free, u, d_old)
    new = np.where(free, u + relaxation * (residual - u), turn + sign * e)
    s = np.where(free, 0, sign * (size - e))
    packed = np.where(away, turn + sign * (threshold + e * contraction), r)
    fidelity = np.where(free, 0, 2 * w * np.abs(np.sin(0.5 * residual)))
    sums = _sums(fidelity, residual, new, old, phi, s)
    u[...] = np.where(free, new, packed)
    p[...] = phi + new - s
    return sums


def chord_step_double(
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
    contraction = np.maximum(1.0 - threshold / math.pi, 1e-12)
    turn = _turns(u)
    s_old = clip(u - turn, threshold)
    e_old = (u - turn - s_old) / contraction
    d_old = turn + e_old
    r = d_old + relaxation * (residual - d_old) + s_old * np.cos(0.5 * e_old)
    turn = _turns(r)
    size = np.abs(r - turn)
    sign = np.where(r < turn, -1.0, 1.0)
    away = moving = size > threshold
    e = np.where(away, size - threshold, 0.0)
    for _ in range(NEWTON_STEPS_DOUBLE):
        if not moving.any():
            break
        slope = np.maximum(1.0 - 0.5 * threshold * np.sin(0.5 * e), 0.1)
        step = clip((threshold * np.cos(0.5 * e) + e - size) / slope, 1.0)
        e = np.where(moving, e - step, e)
        moving = moving & ~(np.abs(step) <= 1e-15 * (1.0 + e))
    new, s = turn + sign * e, sign * (size - e)
    sums = _sums(2.0 * w * np.abs(np.sin(0.5 * residual)), residual, new, d_old, phi, s)
    u[...] = np.where(away, turn + sign * (threshold + e * contraction), r)
    p[...] = phi + new - s
    return sums
