"""Plain numpy for :mod:`qsm_recon.backend.kernels.spectral`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.plain.arrays import rows, square, whole_total

Scalar = np.floating


def multiply_dipole(spectrum: NDArray, dipole: NDArray, first: int, last: int, half: int, scale: Scalar) -> None:
    """See the kernel."""
    values, d = rows(first, last, half, spectrum, dipole)
    values *= d * scale


def spectral_advance(
    smooth: NDArray,
    data: NDArray,
    dipole: NDArray,
    inverse: NDArray,
    direction: NDArray,
    first: int,
    last: int,
    half: int,
    single_last: bool,
    step: Scalar,
    solution: NDArray,
    residual: NDArray,
) -> float:
    """See the kernel."""
    a, b, d, c, p, x, r = rows(first, last, half, smooth, data, dipole, inverse, direction, solution, residual)
    x += step * p
    r -= step * (a + d * b)
    return whole_total(c * square(r), single_last)


def spectral_direction(
    residual: NDArray,
    inverse: NDArray,
    dipole: NDArray,
    first: int,
    last: int,
    half: int,
    beta: Scalar,
    scale: Scalar,
    direction: NDArray,
    image: NDArray,
    field: NDArray,
) -> None:
    """See the kernel."""
    r, c, kernel_rows, d, x, f = rows(first, last, half, residual, inverse, dipole, direction, image, field)
    d[...] = c * r + beta * d
    x[...] = d * scale
    f[...] = x * kernel_rows


def circulant_inverse(
    dipole: NDArray,
    symbol_x: NDArray,
    symbol_y: NDArray,
    symbol_z: NDArray,
    first: int,
    last: int,
    half: int,
    data_weight: Scalar,
    smoothness: Scalar,
    floor: Scalar,
    out: NDArray,
) -> None:
    """See the kernel."""
    for i in range(first, last):
        d = dipole[i, :, :half]
        gradient = symbol_x[i] + symbol_y[: d.shape[0], None] + symbol_z[:half]
        out[i, : d.shape[0], :half] = 1 / (data_weight * d * d + smoothness * gradient + floor)
