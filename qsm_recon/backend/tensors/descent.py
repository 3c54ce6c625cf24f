"""Tensors for :mod:`qsm_recon.backend.kernels.descent`."""

from __future__ import annotations

from torch import Tensor

from qsm_recon.backend.tensors.arrays import numbers, product, rows, square, symbol, total, where, whole_total


def descend(
    residual: Tensor,
    dipole: Tensor,
    first: int,
    last: int,
    half: int,
    single_last: bool,
    step: float,
    damping: float,
    scale: float,
    solution: Tensor,
) -> tuple[float, ...]:
    """See the kernel."""
    r, d, x = rows(first, last, half, residual, dipole, solution)
    gradient = d * r + damping * x
    x.sub_(gradient, alpha=step)
    r.copy_(x).mul_(d).mul_(scale)
    return numbers(whole_total(square(gradient), single_last), whole_total(square(x), single_last))


def renew_gradient(
    residual: Tensor,
    dipole: Tensor,
    solution: Tensor,
    first: int,
    last: int,
    half: int,
    single_last: bool,
    damping: float,
    gradient: Tensor,
) -> tuple[float, ...]:
    """See the kernel."""
    r, d, x, g = rows(first, last, half, residual, dipole, solution, gradient)
    r.mul_(d).add_(x, alpha=damping)
    sums = whole_total(square(r), single_last), whole_total(product(r, g), single_last)
    g.copy_(r)
    return numbers(*sums)


def renew_direction(
    gradient: Tensor,
    dipole: Tensor,
    first: int,
    last: int,
    half: int,
    single_last: bool,
    beta: float,
    scale: float,
    direction: Tensor,
    field: Tensor,
) -> tuple[float, ...]:
    """See the kernel."""
    g, kernel_rows, d, f = rows(first, last, half, gradient, dipole, direction, field)
    d.mul_(beta).sub_(g)
    f.copy_(d).mul_(kernel_rows).mul_(scale)
    return numbers(whole_total(square(d), single_last), whole_total(product(d, g), single_last))


def advance(
    direction: Tensor, first: int, last: int, half: int, single_last: bool, step: float, solution: Tensor
) -> float:
    """See the kernel."""
    d, x = rows(first, last, half, direction, solution)
    x.add_(d, alpha=step)
    return whole_total(square(x), single_last).item()


def band_sums(spectrum: Tensor, bands: Tensor, first: int, last: int, half: int) -> tuple[float, ...]:
    """See the kernel."""
    x, band = rows(first, last, half, spectrum, bands)
    size = x.abs()
    return numbers(*(total(where(band == mark, size, 0.0, size)) for mark in (1, 2)))


def weighted_energy(image: Tensor, weight: Tensor, first: int, nz: int) -> float:
    """See the kernel."""
    f = image[..., :nz]
    return total(weight[first : first + f.shape[0], : f.shape[1], :nz] * f * f).item()


def step_planes(field: Tensor, direction_field: Tensor, first: int, nz: int, step: float, out: Tensor) -> None:
    """See the kernel."""
    part = (slice(first, first + out.shape[0]), slice(out.shape[1]), slice(nz))
    field[part].add_(direction_field[part], alpha=step)
    out[..., :nz].copy_(field[part])


def solve_known_frequencies(
    spectrum: Tensor,
    known: Tensor,
    dipole: Tensor,
    symbol_x: Tensor,
    symbol_y: Tensor,
    symbol_z: Tensor,
    first: int,
    last: int,
    half: int,
    single_last: bool,
    threshold: float,
    penalty: float,
    scale: float,
) -> float:
    """See the kernel."""
    a, target, d = rows(first, last, half, spectrum, known, dipole)
    inside = (d.abs() > threshold).to(d.dtype)
    denominator = inside + penalty * symbol(symbol_x, symbol_y, symbol_z, first, last, half)
    inverse = where(denominator > 0, 1 / denominator, 0.0, denominator)
    a.mul_(penalty * scale).add_(inside * target).mul_(inverse)
    return whole_total(inside * square(a - target), single_last).item()
