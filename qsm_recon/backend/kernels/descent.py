"""Kernels in k-space for descent methods, and for data known at some frequencies only.

Rows ``first`` to ``last`` (exclusive) of the second axis are worked on; ``half`` entries of the last axis count.  Sums
are over the full spectrum: every interior entry of the half-spectrum stands for two frequencies; the first, and for an
even number of voxels the last (``single_last``), for one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import inline, kernel

Scalar = np.floating


@inline
def _product(a: complex, b: complex) -> Scalar:
    return a.real * b.real + a.imag * b.imag


@inline
def _whole(total: Scalar, begin: Scalar, end: Scalar, single_last: bool) -> float:
    """Sum over the full spectrum from that over a row of the half-spectrum and the row's first and last terms."""
    return 2.0 * total - begin - (end if single_last else 0.0)


@kernel
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
    """One step x ← x - step (D r + damping x); ``residual`` is replaced by scale D x.

    Returns
    -------
    tuple of float
        Sums of |D r + damping x|² before the step and of |x|² after it.
    """
    slope = norm = 0.0
    for i in range(residual.shape[0]):
        for j in range(first, last):
            r, d, x = residual[i, j], dipole[i, j], solution[i, j]
            slope_row = norm_row = d[0] - d[0]
            for k in range(half):
                real = d[k] * r[k].real + damping * x[k].real
                imag = d[k] * r[k].imag + damping * x[k].imag
                slope_row += real * real + imag * imag
                r[k] = complex(real, imag)
                new_real, new_imag = x[k].real - step * real, x[k].imag - step * imag
                norm_row += new_real * new_real + new_imag * new_imag
                x[k] = complex(new_real, new_imag)
            slope += _whole(slope_row, _product(r[0], r[0]), _product(r[half - 1], r[half - 1]), single_last)
            norm += _whole(norm_row, _product(x[0], x[0]), _product(x[half - 1], x[half - 1]), single_last)
            for k in range(half):
                factor = scale * d[k]
                r[k] = complex(factor * x[k].real, factor * x[k].imag)
    return slope, norm


@kernel
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
    """Replace the gradient by g = D r + damping x; returns the sums of |g|² and Re(g conj(old g)).

    The residual is overwritten.
    """
    norm = product = 0.0
    for i in range(residual.shape[0]):
        for j in range(first, last):
            r, d, x, g = residual[i, j], dipole[i, j], solution[i, j], gradient[i, j]
            norm_row = product_row = d[0] - d[0]
            for k in range(half):
                real = d[k] * r[k].real + damping * x[k].real
                imag = d[k] * r[k].imag + damping * x[k].imag
                norm_row += real * real + imag * imag
                product_row += real * g[k].real + imag * g[k].imag
                r[k] = complex(real, imag)
            end = half - 1
            norm += _whole(norm_row, _product(r[0], r[0]), _product(r[end], r[end]), single_last)
            product += _whole(product_row, _product(r[0], g[0]), _product(r[end], g[end]), single_last)
            for k in range(half):
                g[k] = r[k]
    return norm, product


@kernel
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
    """Replace the direction by d = beta d - g and ``field`` by scale D d; returns the sums of |d|² and g conj(d)."""
    norm = product = 0.0
    for i in range(gradient.shape[0]):
        for j in range(first, last):
            g, kernel_row, d, f = gradient[i, j], dipole[i, j], direction[i, j], field[i, j]
            norm_row = product_row = kernel_row[0] - kernel_row[0]
            for k in range(half):
                real = beta * d[k].real - g[k].real
                imag = beta * d[k].imag - g[k].imag
                norm_row += real * real + imag * imag
                product_row += real * g[k].real + imag * g[k].imag
                d[k] = complex(real, imag)
                factor = scale * kernel_row[k]
                f[k] = complex(factor * real, factor * imag)
            end = half - 1
            norm += _whole(norm_row, _product(d[0], d[0]), _product(d[end], d[end]), single_last)
            product += _whole(product_row, _product(d[0], g[0]), _product(d[end], g[end]), single_last)
    return norm, product


@kernel
def advance(
    direction: NDArray, first: int, last: int, half: int, single_last: bool, step: Scalar, solution: NDArray
) -> float:
    """One step x ← x + step d; returns the sum of |x|²."""
    norm = 0.0
    for i in range(solution.shape[0]):
        for j in range(first, last):
            d, x = direction[i, j], solution[i, j]
            norm_row = d[0].real - d[0].real
            for k in range(half):
                real, imag = x[k].real + step * d[k].real, x[k].imag + step * d[k].imag
                x[k] = complex(real, imag)
                norm_row += real * real + imag * imag
            norm += _whole(norm_row, _product(x[0], x[0]), _product(x[half - 1], x[half - 1]), single_last)
    return norm


@kernel
def band_sums(spectrum: NDArray, bands: NDArray, first: int, last: int, half: int) -> tuple[float, float]:
    """Sums of |x| over the entries marked 1 and over those marked 2 in ``bands`` (small integers)."""
    inner = outer = 0.0
    for i in range(spectrum.shape[0]):
        for j in range(first, last):
            x, band = spectrum[i, j], bands[i, j]
            for k in range(half):
                if band[k] == 1:
                    inner += np.sqrt(_product(x[k], x[k]))
                elif band[k] == 2:
                    outer += np.sqrt(_product(x[k], x[k]))
    return inner, outer


@kernel
def weighted_energy(image: NDArray, weight: NDArray, first: int, nz: int) -> float:
    """Sum of w f² over a block of planes f that begins at ``first``."""
    total = 0.0
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            f, w = image[i, j], weight[first + i, j]
            sum_row = f[0] - f[0]
            for k in range(nz):
                sum_row += w[k] * f[k] * f[k]
            total += sum_row
    return total


@kernel
def step_planes(field: NDArray, direction_field: NDArray, first: int, nz: int, step: Scalar, out: NDArray) -> None:
    """Add step times planes of one image to those of another, and copy the result."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            f, d, target = field[first + i, j], direction_field[first + i, j], out[i, j]
            for k in range(nz):
                f[k] += step * d[k]
                target[k] = f[k]


@kernel
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
    """Replace ∇ᵀ(z - s) by χ = (K known + mu ∇ᵀ(z - s)) / (K + mu |∇|²), K one where |D| exceeds a threshold, else 0.

    ``known`` is divided by the number of voxels already, ``spectrum`` is not: ``scale`` does that.  Zero where nothing
    is known of a frequency.  Returns the sum of K |χ - known|².
    """
    misfit = 0.0
    for i in range(spectrum.shape[0]):
        for j in range(first, last):
            a, target, d = spectrum[i, j], known[i, j], dipole[i, j]
            row_symbol = symbol_x[i] + symbol_y[j]
            one, zero = scale / scale, scale - scale
            misfit_row = zero
            for k in range(half):
                inside = one if abs(d[k]) > threshold else zero
                denominator = inside + penalty * (row_symbol + symbol_z[k])
                inverse = one / denominator if denominator > 0 else zero
                real = (inside * target[k].real + penalty * scale * a[k].real) * inverse
                imag = (inside * target[k].imag + penalty * scale * a[k].imag) * inverse
                x, y = real - target[k].real, imag - target[k].imag
                twice = 1.0 if k == 0 or (single_last and k == half - 1) else 2.0
                misfit_row += twice * inside * (x * x + y * y)
                a[k] = complex(real, imag)
            misfit += misfit_row
    return misfit
