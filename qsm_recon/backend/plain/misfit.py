"""Plain numpy for :mod:`qsm_recon.backend.kernels.misfit`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.plain.arrays import planes, total

Scalar = np.floating


def quadratic_misfit(
    predicted: NDArray, measured: NDArray, weight: NDArray, first: int, nz: int, scale: Scalar, out: NDArray
) -> float:
    """See the kernel."""
    f, phi, w = planes(predicted, first, nz, measured, weight)
    u = f - phi
    out[..., :nz] = w * u
    return 0.5 * total(w * u * u)


def sine_misfit_single(
    predicted: NDArray, measured: NDArray, weight: NDArray, first: int, nz: int, scale: Scalar, out: NDArray
) -> float:
    """See the kernel."""
    f, phi, w = planes(predicted, first, nz, measured, weight)
    angle = 0.5 * scale * (f - phi)
    sine = np.sin(angle)
    out[..., :nz] = w * 2 * sine * np.cos(angle) / scale
    return 2.0 * total(w * sine * sine) / float(scale * scale)


def sine_misfit_double(
    predicted: NDArray, measured: NDArray, weight: NDArray, first: int, nz: int, scale: Scalar, out: NDArray
) -> float:
    """See the kernel."""
    return sine_misfit_single(predicted, measured, weight, first, nz, scale, out)


def held_misfit(
    predicted: NDArray,
    measured: NDArray,
    weight: NDArray,
    first: int,
    nz: int,
    scale: Scalar,
    limit: Scalar,
    out: NDArray,
) -> float:
    """See the kernel."""
    f, phi, w = planes(predicted, first, nz, measured, weight)
    angle = scale * (f - phi)
    near = np.clip(angle, -limit, limit)
    beyond = angle - near
    sine = np.sin(0.5 * near)
    out[..., :nz] = w * (np.sin(near) + beyond) / scale
    value = 2.0 * sine * sine + np.abs(beyond) * (np.sin(limit) + 0.5 * np.abs(beyond))
    return total(w * value) / float(scale * scale)
