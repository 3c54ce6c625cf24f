"""Tensors for :mod:`qsm_recon.backend.kernels.generalised`.

Buffers of one plane (components, ny, stride), as the kernels have them, or of several (components, planes, ny, stride),
which are then worked on at a time from the given plane on.
"""

from __future__ import annotations

import torch
from numpy.typing import NDArray
from torch import Tensor

from qsm_recon.backend.plain.generalised import DIVERGENCE, OFF_DIAGONAL
from qsm_recon.backend.tensors.arrays import ahead, behind, square
from qsm_recon.backend.tensors.gradient import Settings, shrink, weight_of

Spacing = tuple[float, float, float]


def _several(buffer: Tensor) -> Tensor:
    """A buffer with an axis of planes."""
    return buffer[:, None] if buffer.ndim == 3 else buffer


def shrink_plane(
    image: Tensor,
    vector: Tensor,
    vector_beyond: Tensor,
    u1: Tensor,
    u0: Tensor,
    weights: Tensor,
    plane: int,
    nz: int,
    inverse_spacing: Spacing,
    first_order: Settings,
    second_order: Settings,
    update: bool,
    signed: Tensor,
    sums: NDArray,
) -> None:
    """See the kernel."""
    target = _several(signed)[..., :nz]
    first, last = plane, plane + target.shape[1]
    valid, v, v_beyond = image[..., :nz], _several(vector)[..., :nz], vector_beyond[:, None, :, :nz]

    def difference_of_vector(component: int, axis: int) -> Tensor:
        here = v[component]
        along = axis == 0
        there = torch.cat([here[1:], v_beyond[component]]) if along else ahead(here, 0, last - first, axis)
        return (there - here) * inverse_spacing[axis]

    found = image.new_zeros((2, 5), dtype=torch.float64)
    for component in range(3):
        state, weight = u1[component, first:last, :, :nz], weight_of(weights, component, first, last, nz)
        slope = ahead(valid, first, last, component) - valid[first:last]
        slope = slope * inverse_spacing[component] - v[component]
        target[component], part = shrink(slope, state, weight, first_order, update=update)
        found[0] += part
    for component, (a, b) in enumerate(OFF_DIAGONAL):
        slope = difference_of_vector(b, a)
        if a != b:
            slope = 0.5 * (slope + difference_of_vector(a, b))
        state = u0[component, first:last, :, :nz]
        target[3 + component], part = shrink(slope, state, None, second_order, update=update)
        found[1].add_(part, alpha=1.0 if a == b else 2.0)
    if update:
        sums += found.cpu().numpy()


def adjoint_plane(
    signed: Tensor,
    before: Tensor,
    nz: int,
    inverse_spacing: Spacing,
    first_penalty: float,
    second_penalty: float,
    out: Tensor,
) -> None:
    """See the kernel."""
    w, target = _several(signed)[..., :nz], _several(out)[..., :nz]
    old = before[..., :nz]
    for component, parts in enumerate(DIVERGENCE):
        result = target[component]
        result.zero_()
        for axis, part in enumerate(parts):
            result.add_(behind(w[part], old[part], axis) - w[part], alpha=inverse_spacing[axis])
        if component > 0:
            result.mul_(second_penalty).sub_(w[component - 1], alpha=first_penalty)


def _symbols(
    symbol_x: Tensor, symbol_y: Tensor, symbol_z: Tensor, first: int, last: int, half: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The three symbols e, in shapes that fit each other, and |e|²."""
    ex, ey, ez = symbol_x[:, None, None], symbol_y[None, first:last, None], symbol_z[None, None, :half]
    return ex, ey, ez, square(ex) + square(ey) + square(ez)


def eliminate_vector(
    spectra: Tensor,
    symbol_x: Tensor,
    symbol_y: Tensor,
    symbol_z: Tensor,
    first: int,
    last: int,
    half: int,
    first_penalty: float,
    second_penalty: float,
) -> None:
    """See the kernel."""
    ex, ey, ez, power = _symbols(symbol_x, symbol_y, symbol_z, first, last, half)
    g, rx, ry, rz = spectra[:, :, first:last, :half]
    g += (ex.conj() * rx + ey.conj() * ry + ez.conj() * rz) / (first_penalty + second_penalty * power)


def recover_vector(
    spectra: Tensor,
    symbol_x: Tensor,
    symbol_y: Tensor,
    symbol_z: Tensor,
    first: int,
    last: int,
    half: int,
    first_penalty: float,
    second_penalty: float,
    scale: float,
) -> None:
    """See the kernel."""
    ex, ey, ez, power = _symbols(symbol_x, symbol_y, symbol_z, first, last, half)
    half_penalty = second_penalty / 2
    chi, *vector = spectra[:, :, first:last, :half]
    along = scale * (ex.conj() * vector[0] + ey.conj() * vector[1] + ez.conj() * vector[2])
    dot = half_penalty / (first_penalty + second_penalty * power) * (along + first_penalty * power * chi)
    inverse = 1 / (first_penalty + half_penalty * power)
    common = first_penalty * chi - dot
    for values, e in zip(vector, (ex, ey, ez), strict=True):
        values.mul_(scale).add_(e * common).mul_(inverse)
