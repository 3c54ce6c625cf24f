"""Plain numpy for :mod:`qsm_recon.backend.kernels.frequency`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.plain.arrays import rows, symbol

Scalar = np.floating


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
    """See the kernel."""
    a, b, d = rows(first, last, half, image_spectrum, field_spectrum, dipole)
    gradient = symbol(symbol_x, symbol_y, symbol_z, first, last, half)
    if coupling > 0:
        gradient = gradient * (gradient / (coupling + gradient))
    weighted = field_penalty * d
    a[...] = (gradient_penalty * a + weighted * b) * (scale / (weighted * d + gradient_penalty * gradient))
    if first == 0 < last and dipole[0, 0, 0] == 0:
        a[0, 0, 0] = 0
    b[...] = a * d


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
    """See the kernel."""
    a, b, c, d = rows(first, last, half, image_spectrum, field_spectrum, background_spectrum, dipole)
    gradient = symbol(symbol_x, symbol_y, symbol_z, first, last, half)
    laplacian = symbol(laplacian_x, laplacian_y, laplacian_z, first, last, half)
    if coupling > 0:
        gradient = gradient * (gradient / (coupling + gradient))
    both = field_penalty + background_penalty * laplacian * laplacian
    share = background_penalty * laplacian / both
    weighted = field_penalty * d
    denominator = weighted * d * share * laplacian + gradient_penalty * gradient
    inverse = np.where(denominator > 0, scale / denominator, 0)
    chi = (gradient_penalty * a + weighted * share * (laplacian * b - c)) * inverse
    field = chi * d
    background = (field_penalty * (b * scale - field) + background_penalty * laplacian * c * scale) / both
    a[...] = chi
    b[...] = field + background
    c[...] = laplacian * background
