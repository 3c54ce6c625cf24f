"""Plain numpy for :mod:`qsm_recon.backend.kernels.descent`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.plain.arrays import product, rows, square, symbol, total, whole_total

Scalar = np.floating


def descend(
    residual: NDArray,
    dipole: NDArray,
    first: int,
    last: int,
    half: int,
    single_last: bool,
    step: Scalar,
    damping: Scalar,
    scale: Scalar,
    solution: NDArray,
) -> tuple[float, float]:
    """See the kernel."""
    r, d, x = rows(first, last, half, residual, dipole, solution)
    gradient = d * r + damping * x
    x -= step * gradient
    r[...] = scale * d * x
    return whole_total(square(gradient), single_last), whole_total(square(x), single_last)


def renew_gradient(
    residual: NDArray,
    dipole: NDArray,
    solution: NDArray,
    first: int,
    last: int,
    half: int,
    single_last: bool,
    damping: Scalar,
    gradient: NDArray,
) -> tuple[float, float]:
    """See the kernel."""
    r, d, x, g = rows(first, last, half, residual, dipole, solution, gradient)
    r[...] = d * r + damping * x
    sums = whole_total(square(r), single_last), whole_total(product(r, g), single_last)
    g[...] = r
    return sums


def renew_direction(
    gradient: NDArray,
    dipole: NDArray,
    first: int,
    last: int,
    half: int,
    single_last: bool,
    beta: Scalar,
    scale: Scalar,
    direction: NDArray,
    field: NDArray,
) -> tuple[float, float]:
    """See the kernel."""
    g, kernel_rows, d, f = rows(first, last, half, gradient, dipole, direction, field)
    d[...] = beta * d - g
    f[...] = scale * kernel_rows * d
    return whole_total(square(d), single_last), whole_total(product(d, g), single_last)


def advance(
    direction: NDArray, first: int, last: int, half: int, single_last: bool, step: Scalar, solution: NDArray
) -> float:
    """See the kernel."""
    d, x = rows(first, last, half, direction, solution)
    x += step * d
    return whole_total(square(x), single_last)


def band_sums(spectrum: NDArray, bands: NDArray, first: int, last: int, half: int) -> tuple[float, float]:
    """See the kernel."""
    x, band = rows(first, last, half, spectrum, bands)
    size = np.sqrt(square(x))
    return total(size[band == 1]), total(size[band == 2])


def weighted_energy(image: NDArray, weight: NDArray, first: int, nz: int) -> float:
    """See the kernel."""
    f = image[..., :nz]
    return total(weight[first : first + f.shape[0], : f.shape[1], :nz] * f * f)


def step_planes(field: NDArray, direction_field: NDArray, first: int, nz: int, step: Scalar, out: NDArray) -> None:
    """See the kernel."""
    part = (slice(first, first + out.shape[0]), slice(out.shape[1]), slice(nz))
    field[part] += step * direction_field[part]
    out[..., :nz] = field[part]


def solve_known_frequencies(
    spectrum: NDArray,
    known: NDArray,
    dipole: NDArray,
    symbol_x: NDArray,
    symbol_y: NDArray,
    symbol_z: NDArray,
    first: int,
    last: int,
    half: int,
    single_last: bool,
    threshold: Scalar,
    penalty: Scalar,
    scale: Scalar,
) -> float:
    """See the kernel."""
    a, target, d = rows(first, last, half, spectrum, known, dipole)
    inside = (np.abs(d) > threshold).astype(d.dtype)
    denominator = inside + penalty * symbol(symbol_x, symbol_y, symbol_z, first, last, half)
    inverse = np.where(denominator > 0, 1 / denominator, 0)
    a[...] = (inside * target + penalty * scale * a) * inverse
    return whole_total(inside * square(a - target), single_last)
