"""Tensors for :mod:`qsm_recon.backend.kernels.spectral`."""

from __future__ import annotations

from torch import Tensor

from qsm_recon.backend.tensors.arrays import rows, square, whole_total


def multiply_dipole(spectrum: Tensor, dipole: Tensor, first: int, last: int, half: int, scale: float) -> None:
    """See the kernel."""
    values, d = rows(first, last, half, spectrum, dipole)
    values.mul_(d).mul_(scale)


def spectral_advance(
    smooth: Tensor,
    data: Tensor,
    dipole: Tensor,
    inverse: Tensor,
    direction: Tensor,
    first: int,
    last: int,
    half: int,
    single_last: bool,
    step: float,
    solution: Tensor,
    residual: Tensor,
) -> float:
    """See the kernel."""
    a, b, d, c, p, x, r = rows(first, last, half, smooth, data, dipole, inverse, direction, solution, residual)
    x.add_(p, alpha=step)
    r.sub_(a + d * b, alpha=step)
    return whole_total(c * square(r), single_last).item()


def spectral_direction(
    residual: Tensor,
    inverse: Tensor,
    dipole: Tensor,
    first: int,
    last: int,
    half: int,
    beta: float,
    scale: float,
    direction: Tensor,
    image: Tensor,
    field: Tensor,
) -> None:
    """See the kernel."""
    r, c, kernel_rows, d, x, f = rows(first, last, half, residual, inverse, dipole, direction, image, field)
    d.mul_(beta).add_(c * r)
    x.copy_(d).mul_(scale)
    f.copy_(x).mul_(kernel_rows)


def circulant_inverse(
    dipole: Tensor,
    symbol_x: Tensor,
    symbol_y: Tensor,
    symbol_z: Tensor,
    first: int,
    last: int,
    half: int,
    data_weight: float,
    smoothness: float,
    floor: float,
    out: Tensor,
) -> None:
    """See the kernel."""
    d, ny = dipole[first:last, :, :half], dipole.shape[1]
    gradient = (symbol_x[first:last, None] + symbol_y[:ny])[..., None] + symbol_z[:half]
    out[first:last, :, :half] = 1 / (data_weight * d * d + smoothness * gradient + floor)
