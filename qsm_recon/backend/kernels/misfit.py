"""Kernels on the difference between a predicted and a measured field."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import kernel
from qsm_recon.backend.scalars import limited, near_cosine, near_sine
from qsm_recon.backend.trigonometry import sine_cosine

Scalar = np.floating
_HALF = np.float32(0.5)


@kernel
def quadratic_misfit(
    predicted: NDArray, measured: NDArray, weight: NDArray, first: int, nz: int, scale: Scalar, out: NDArray
) -> float:
    """Fill planes ``out`` with W² (f - φ); returns their share of ½ Σ W² (f - φ)².

    ``predicted`` f and ``out`` are blocks of planes that begin at ``first``; ``weight`` is W².
    """
    total = 0.0
    for i in range(predicted.shape[0]):
        for j in range(predicted.shape[1]):
            f, r = predicted[i, j], out[i, j]
            phi, w = measured[first + i, j], weight[first + i, j]
            sum_row = f[0] - f[0]
            for k in range(nz):
                u = f[k] - phi[k]
                sum_row += w[k] * u * u
                r[k] = w[k] * u
            total += sum_row
    return 0.5 * total


@kernel
def sine_misfit_single(
    predicted: NDArray, measured: NDArray, weight: NDArray, first: int, nz: int, scale: Scalar, out: NDArray
) -> float:
    """Fill planes with W² sin(s (f - φ)) / s; returns their share of ½ Σ W² |exp(isf) - exp(isφ)|² / s²."""
    total = 0.0
    inverse = 1 / scale
    for i in range(predicted.shape[0]):
        for j in range(predicted.shape[1]):
            f, r = predicted[i, j], out[i, j]
            phi, w = measured[first + i, j], weight[first + i, j]
            sum_row = f[0] - f[0]
            for k in range(nz):
                # Half the angle: 1 - cos u = 2 sin²(u/2) keeps its digits where u is small.
                sine, cosine = sine_cosine(_HALF * scale * (f[k] - phi[k]))
                sum_row += w[k] * sine * sine
                r[k] = w[k] * (sine + sine) * cosine * inverse
            total += sum_row
    return 2.0 * total * inverse * inverse


@kernel
def sine_misfit_double(
    predicted: NDArray, measured: NDArray, weight: NDArray, first: int, nz: int, scale: Scalar, out: NDArray
) -> float:
    """The same in double precision, by library functions."""
    total = 0.0
    for i in range(predicted.shape[0]):
        for j in range(predicted.shape[1]):
            for k in range(nz):
                half = 0.5 * scale * (predicted[i, j, k] - measured[first + i, j, k])
                w = weight[first + i, j, k]
                sine = math.sin(half)
                total += w * sine * sine
                out[i, j, k] = w * 2.0 * sine * math.cos(half) / scale
    return 2.0 * total / (scale * scale)


@kernel
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
    """As for the sine up to a limit (in rad, at most one) of |s (f - φ)|; beyond, the slope rises as a square's."""
    total = 0.0
    one = scale / scale  # of the precision of the field
    end_slope = 2 * near_sine(_HALF * limit, one) * near_cosine(_HALF * limit, one)
    inverse = one / scale
    for i in range(predicted.shape[0]):
        for j in range(predicted.shape[1]):
            f, r = predicted[i, j], out[i, j]
            phi, w = measured[first + i, j], weight[first + i, j]
            sum_row = f[0] - f[0]
            for k in range(nz):
                angle = scale * (f[k] - phi[k])
                near = limited(angle, limit)
                beyond = angle - near
                sine, cosine = near_sine(_HALF * near, one), near_cosine(_HALF * near, one)
                sum_row += w[k] * (sine * (sine + sine) + abs(beyond) * (end_slope + _HALF * abs(beyond)))
                r[k] = w[k] * ((sine + sine) * cosine + beyond) * inverse
            total += sum_row
    return total * inverse * inverse
