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
    field_penalty: Scalar,
    scale: Scalar,
) -> None:
    """Replace the two right-hand sides by the spectra of χ and of its field D χ, for rows ``first`` to ``last``.

    χ = (mu1 ∇ᵀ(z1 - s1) + mu2 D (z2 - s2)) / (mu2 D² + mu1 |∇|²), with |∇|² the sum of three one-dimensional
    symbols.  The mean (zero frequency) is zero where D is: neither term sees it.  ``scale`` undoes the
    unnormalised transforms.
    """
    nx = image_spectrum.shape[0]
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
                inverse = scale / (weighted * d[k] + gradient_penalty * (row_symbol + symbol_z[k]))
                real = (gradient_penalty * a[k].real + weighted * b[k].real) * inverse
                imag = (gradient_penalty * a[k].imag + weighted * b[k].imag) * inverse
                a[k] = complex(real, imag)
                b[k] = complex(real * d[k], imag * d[k])
