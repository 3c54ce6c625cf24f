"""Whole arrays for :mod:`qsm_recon.backend.field_sweep`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.plain.arrays import planes, square, total

Scalar = np.floating
Sums = tuple[float, float, float, float, float]


def _ends(weight: NDArray) -> NDArray[np.bool_]:
    """Mark what lies before the first and behind the last weight of a row that is not zero."""
    there = weight != 0
    begun = np.logical_or.accumulate(there, axis=-1)
    to_come = np.logical_or.accumulate(there[..., ::-1], axis=-1)[..., ::-1]
    return ~(begun & to_come)


def _finish(p: NDArray, u: NDArray, new: NDArray, old: NDArray, dual: NDArray, stored: NDArray, value: NDArray) -> Sums:
    """Sum, and write what a step gives into the buffers."""
    sums = (
        total(value),
        total(square(p - new)),
        total(square(new - old)),
        total(square(new)),
        total(square(dual)),
    )
    u[...] = stored
    p[...] = new - dual
    return sums


def sweep(
    step: Callable[..., Any],
    predicted: NDArray,
    state: NDArray,
    measured: NDArray,
    weight: NDArray,
    first: int,
    nz: int,
    dual_scale: Scalar,
    penalty: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
) -> Sums:
    """See the kernel."""
    p, u, phi, w = planes(predicted, first, nz, state, measured, weight)
    return _finish(p, u, *step(p, u, phi, w, dual_scale, penalty, relaxation, numbers))


def weighted_sweep(
    step: Callable[..., Any],
    predicted: NDArray,
    state: NDArray,
    measured: NDArray,
    weight: NDArray,
    first: int,
    nz: int,
    dual_scale: Scalar,
    penalty: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
    of_residual: bool,
) -> Sums:
    """See the kernel."""
    p, u, phi, w = planes(predicted, first, nz, state, measured, weight)
    free, offset = _ends(w), phi if of_residual else 0
    new, old, dual, stored, value = step(p, u, phi, w, dual_scale, penalty, relaxation, numbers)
    old = np.where(free, u + offset, old)
    new = np.where(free, old + relaxation * (p - old), new)
    dual, value = np.where(free, 0, dual), np.where(free, 0, value)
    return _finish(p, u, new, old, dual, np.where(free, new - offset, stored), value)


def proximal_sweep(
    proximal: Callable[..., Any],
    function: Callable[..., Any],
    predicted: NDArray,
    state: NDArray,
    measured: NDArray,
    weight: NDArray,
    first: int,
    nz: int,
    penalty: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
) -> Sums:
    """See the kernel."""
    p, u, phi, w = planes(predicted, first, nz, state, measured, weight)
    residual, threshold = p - phi, w / penalty
    old = proximal(u, threshold, numbers)
    r = old + relaxation * (residual - old) + (u - old)
    new = proximal(r, threshold, numbers)
    return _finish(p, u, phi + new, phi + old, r - new, r, w * function(residual, numbers))
