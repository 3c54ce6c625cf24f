"""Tensors for :mod:`qsm_recon.backend.kernels.frequency`."""

from __future__ import annotations

import torch
from torch import Tensor

from qsm_recon.backend.tensors.arrays import rows, symbol, where


def _coupled(gradient: Tensor, coupling: float) -> Tensor:
    """|∇|² once a vector field is folded in."""
    return gradient * (gradient / (coupling + gradient)) if coupling > 0 else gradient


def solve_susceptibility(
    image_spectrum: Tensor,
    field_spectrum: Tensor,
    dipole: Tensor,
    symbol_x: Tensor,
    symbol_y: Tensor,
    symbol_z: Tensor,
    first: int,
    last: int,
    half: int,
    gradient_penalty: float,
    coupling: float,
    field_penalty: float,
    scale: float,
) -> None:
    """See the kernel."""
    a, b, d = rows(first, last, half, image_spectrum, field_spectrum, dipole)
    gradient = _coupled(symbol(symbol_x, symbol_y, symbol_z, first, last, half), coupling)
    weighted = field_penalty * d
    inverse = scale / (weighted * d + gradient_penalty * gradient)
    a.mul_(gradient_penalty).add_(weighted * b).mul_(inverse)
    if first == 0 < last:  # where the kernel vanishes at zero frequency the mean is unknown: zero
        origin = a[0, 0, 0]
        origin.copy_(torch.where(d[0, 0, 0] == 0, torch.zeros_like(origin), origin))
    b.copy_(a).mul_(d)


def solve_with_background(
    image_spectrum: Tensor,
    field_spectrum: Tensor,
    background_spectrum: Tensor,
    dipole: Tensor,
    symbol_x: Tensor,
    symbol_y: Tensor,
    symbol_z: Tensor,
    laplacian_x: Tensor,
    laplacian_y: Tensor,
    laplacian_z: Tensor,
    first: int,
    last: int,
    half: int,
    gradient_penalty: float,
    coupling: float,
    field_penalty: float,
    background_penalty: float,
    scale: float,
) -> None:
    """See the kernel."""
    a, b, c, d = rows(first, last, half, image_spectrum, field_spectrum, background_spectrum, dipole)
    gradient = _coupled(symbol(symbol_x, symbol_y, symbol_z, first, last, half), coupling)
    laplacian = symbol(laplacian_x, laplacian_y, laplacian_z, first, last, half)
    both = field_penalty + background_penalty * laplacian * laplacian
    share = background_penalty * laplacian / both
    weighted = field_penalty * d
    denominator = weighted * d * share * laplacian + gradient_penalty * gradient
    inverse = where(denominator > 0, scale / denominator, 0.0, denominator)
    chi = (gradient_penalty * a + weighted * share * (laplacian * b - c)) * inverse
    field = chi * d
    background = (field_penalty * (b * scale - field) + background_penalty * laplacian * c * scale) / both
    a.copy_(chi)
    b.copy_(field + background)
    c.copy_(laplacian * background)
