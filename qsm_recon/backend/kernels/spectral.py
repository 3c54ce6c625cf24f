"""Kernels in k-space for linear solvers: the dipole kernel, and conjugate gradient on half-spectra.

Rows ``first`` to ``last`` (exclusive) of the second axis are worked on; ``half`` entries of the last axis count.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import kernel

Scalar = np.floating


@kernel
def multiply_dipole(spectrum: NDArray, dipole: NDArray, first: int, last: int, half: int, scale: Scalar) -> None:
    """Multiply a spectrum by the dipole kernel and a scale."""
    for i in range(spectrum.shape[0]):
        for j in range(first, last):
            row, d = spectrum[i, j], dipole[i, j]
            for k in range(half):
                row[k] *= d[k] * scale


@kernel
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
    """One step: x ← x + step d and r ← r - step (smooth + D data); returns <r, C r> over the full spectrum.

    Every interior entry of the half-spectrum stands for two frequencies; the first, and for an even number of
    voxels the last (``single_last``), for one.
    """
    total = 0.0
    for i in range(smooth.shape[0]):
        for j in range(first, last):
            a, b, d, c = smooth[i, j], data[i, j], dipole[i, j], inverse[i, j]
            x, r, p = solution[i, j], residual[i, j], direction[i, j]
            sum_row = c[0] - c[0]
            for k in range(half):
                x[k] = complex(x[k].real + step * p[k].real, x[k].imag + step * p[k].imag)
                real = r[k].real - step * (a[k].real + d[k] * b[k].real)
                imag = r[k].imag - step * (a[k].imag + d[k] * b[k].imag)
                r[k] = complex(real, imag)
                sum_row += c[k] * (real * real + imag * imag)
            total += 2.0 * sum_row - c[0] * (r[0].real * r[0].real + r[0].imag * r[0].imag)
            if single_last:
                end = half - 1
                total -= c[end] * (r[end].real * r[end].real + r[end].imag * r[end].imag)
    return total


@kernel
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
    """Next direction: d ← C r + beta d; fills ``image`` with its spectrum and ``field`` with that of D d."""
    for i in range(residual.shape[0]):
        for j in range(first, last):
            r, c, kernel_row = residual[i, j], inverse[i, j], dipole[i, j]
            d, x, f = direction[i, j], image[i, j], field[i, j]
            for k in range(half):
                real = c[k] * r[k].real + beta * d[k].real
                imag = c[k] * r[k].imag + beta * d[k].imag
                d[k] = complex(real, imag)
                real, imag = real * scale, imag * scale
                x[k] = complex(real, imag)
                f[k] = complex(real * kernel_row[k], imag * kernel_row[k])


@kernel
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
    """Fill planes of ``out`` with 1 / (data_weight D² + smoothness |∇|² + floor)."""
    for i in range(first, last):
        for j in range(dipole.shape[1]):
            d, target = dipole[i, j], out[i, j]
            row_symbol = symbol_x[i] + symbol_y[j]
            for k in range(half):
                target[k] = 1 / (data_weight * d[k] * d[k] + smoothness * (row_symbol + symbol_z[k]) + floor)
