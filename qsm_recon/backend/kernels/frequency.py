"""Kernels in k-space: the solve of a linear step, frequency by frequency."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import kernel

Scalar = np.floating


@kernel
def solve_susceptibility(
    image_spectrum: NDArray,
    field_spectrum: NDArray,
    dipole: NDArray,
    symbol_x: NDArray,
    symbol_y: NDArray,
    symbol_z: NDArray,
    first: int,
    last: int,
    half: int,
    gradient_penalty: Scalar,
    coupling: Scalar,
    field_penalty: Scalar,
    scale: Scalar,
) -> None:
    """Replace the two right-hand sides by the spectra of χ and of its field D χ, for rows ``first`` to ``last``.

    χ = (mu1 ∇ᵀ(z1 - s1) + mu2 D (z2 - s2)) / (mu2 D² + mu1 |∇|²), with |∇|² the sum of three one-dimensional
    symbols.  A regulariser with a vector field folded in makes that |∇|⁴ / (coupling + |∇|²); total variation has no
    coupling.  The mean (zero frequency) is zero where D is: neither term sees it.  ``scale`` undoes the
    unnormalised transforms.
    """
    nx = image_spectrum.shape[0]
    one = scale / scale
    for i in range(nx):
        for j in range(first, last):
            a, b, d = image_spectrum[i, j], field_spectrum[i, j], dipole[i, j]
            row_symbol = symbol_x[i] + symbol_y[j]
            start = 0
            if i == 0 and j == 0 and d[0] == 0:
                a[0] = 0
                b[0] = 0
                start = 1
            for k in range(start, half):
                weighted = field_penalty * d[k]
                symbol = row_symbol + symbol_z[k]
                symbol *= symbol / (coupling + symbol) if coupling > 0 else one
                inverse = scale / (weighted * d[k] + gradient_penalty * symbol)
                real = (gradient_penalty * a[k].real + weighted * b[k].real) * inverse
                imag = (gradient_penalty * a[k].imag + weighted * b[k].imag) * inverse
                a[k] = complex(real, imag)
                b[k] = complex(real * d[k], imag * d[k])


@kernel
def solve_with_background(
    image_spectrum: NDArray,
    field_spectrum: NDArray,
    background_spectrum: NDArray,
    dipole: NDArray,
    symbol_x: NDArray,
    symbol_y: NDArray,
    symbol_z: NDArray,
    laplacian_x: NDArray,
    laplacian_y: NDArray,
    laplacian_z: NDArray,
    first: int,
    last: int,
    half: int,
    gradient_penalty: Scalar,
    coupling: Scalar,
    field_penalty: Scalar,
    background_penalty: Scalar,
    scale: Scalar,
) -> None:
    """The same with a background field h: in come mu1-, mu2- and muh-sides, out go χ, D χ + h and Λ h.

    With Λ minus the Laplacian, h = (mu2 (y - D χ) + muh Λ zh) / (mu2 + muh Λ²) is eliminated first, which leaves
    χ = (mu1 g + mu2 D f (Λ y - zh)) / (mu2 D² f Λ + mu1 |∇|²) with f = muh Λ / (mu2 + muh Λ²).  At zero frequency
    the mean of the field goes to h.
    """
    nx = image_spectrum.shape[0]
    one = scale / scale
    for i in range(nx):
        for j in range(first, last):
            a, b, c, d = image_spectrum[i, j], field_spectrum[i, j], background_spectrum[i, j], dipole[i, j]
            row_symbol = symbol_x[i] + symbol_y[j]
            row_laplacian = laplacian_x[i] + laplacian_y[j]
            for k in range(half):
                laplacian = row_laplacian + laplacian_z[k]
                symbol = row_symbol + symbol_z[k]
                symbol *= symbol / (coupling + symbol) if coupling > 0 else one
                share = background_penalty * laplacian / (field_penalty + background_penalty * laplacian * laplacian)
                weighted = field_penalty * d[k]
                denominator = weighted * d[k] * share * laplacian + gradient_penalty * symbol
                chi = (gradient_penalty * a[k] + weighted * share * (laplacian * b[k] - c[k])) * (
                    scale / denominator if denominator > 0 else scale - scale
                )
                field = chi * d[k]
                background = (
                    field_penalty * (b[k] * scale - field) + background_penalty * laplacian * c[k] * scale
                ) / (field_penalty + background_penalty * laplacian * laplacian)
                a[k] = chi
                b[k] = field + background
                c[k] = laplacian * background
