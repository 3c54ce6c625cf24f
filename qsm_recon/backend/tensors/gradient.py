"""Tensors for :mod:`qsm_recon.backend.kernels.gradient`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from qsm_recon.backend.tensors.arrays import ahead, behind, clip, square, total
from qsm_recon.backend.tensors.arrays import numbers as fetched

Settings = tuple[float, float, float, float]
"""Threshold before and after a change of the penalty, the factor on the dual, over-relaxation."""


def proximal_gradient(
    difference: Tensor, state: Tensor, weight: Tensor | None, settings: Settings
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Shrinkage with dual update; returns z before, z, s and the new state (their sum)."""
    old_threshold, new_threshold, ratio, relaxation = settings
    dual = clip(state, old_threshold if weight is None else old_threshold * weight)
    old = state - dual
    fresh = old + relaxation * (difference - old) + ratio * dual
    dual = clip(fresh, new_threshold if weight is None else new_threshold * weight)
    return old, fresh - dual, dual, fresh


def shrink(
    difference: Tensor, state: Tensor, weight: Tensor | None, settings: Settings, *, update: bool = True
) -> tuple[Tensor, Tensor]:
    """Shrink one component; returns z - s and the five sums, which stay on the device."""
    old, new, dual, fresh = proximal_gradient(difference, state, weight, settings)
    if not update:
        return new - dual, difference.new_zeros(5, dtype=torch.float64)
    size = difference.abs() if weight is None else weight * difference.abs()
    sums = total(size), total(square(difference - new)), total(square(new - old)), total(square(new))
    state.copy_(fresh)
    return new - dual, torch.stack((*sums, total(square(dual))))


def weight_of(weights: Tensor, component: int, first: int, last: int, nz: int) -> Tensor | None:
    """Regularisation weights of a component on planes; None where there are none."""
    count = weights.shape[0]
    return None if count == 0 else weights[component if count > 1 else 0, first:last, :, :nz]


def _scaled(threshold: float, weight: Tensor | None) -> Tensor | float:
    return threshold if weight is None else threshold * weight


def incoming_sweep(
    dual: Callable,
    image: Tensor,
    u: Tensor,
    weights: Tensor,
    plane: int,
    inverse_spacing: float,
    old_threshold: float,
    new_threshold: float,
    ratio: float,
    relaxation: float,
    numbers: tuple[float, ...],
    out: Tensor,
) -> None:
    """See the kernel."""
    before, nz = (plane - 1) % image.shape[0], image.shape[2]
    weight = weight_of(weights, 0, before, before + 1, nz)
    difference = (image[plane] - image[before])[None] * inverse_spacing
    state = u[0, before : before + 1, :, :nz]
    s_old = dual(state, _scaled(old_threshold, weight), numbers)
    z_old = state - s_old
    fresh = z_old + relaxation * (difference - z_old) + ratio * s_old
    out[:, :nz] = (fresh - 2 * dual(fresh, _scaled(new_threshold, weight), numbers))[0]


def gradient_sweep(
    dual: Callable,
    size: Callable,
    image: Tensor,
    u: Tensor,
    weights: Tensor,
    first: int,
    last: int,
    nz: int,
    inverse_spacing: tuple[float, float, float],
    old_threshold: float,
    new_threshold: float,
    ratio: float,
    relaxation: float,
    numbers: tuple[float, ...],
    carried: Tensor,
    next_image: Tensor,
    out: Tensor,
) -> tuple[float, ...]:
    """See the kernel."""
    valid, target = image[..., :nz], out[..., :nz]
    sums = image.new_zeros(5, dtype=torch.float64)
    for axis, scale in enumerate(inverse_spacing):
        difference = (ahead(valid, first, last, axis) - valid[first:last]) * scale
        state, weight = u[axis, first:last, :, :nz], weight_of(weights, axis, first, last, nz)
        s_old = dual(state, _scaled(old_threshold, weight), numbers)
        z_old = state - s_old
        fresh = z_old + relaxation * (difference - z_old) + ratio * s_old
        s = dual(fresh, _scaled(new_threshold, weight), numbers)
        z = fresh - s
        value = size(difference, numbers)
        parts = (
            value if weight is None else weight * value,
            square(difference - z),
            square(z - z_old),
            square(z),
            square(s),
        )
        sums += torch.stack([total(part) for part in parts])
        state.copy_(fresh)
        signed = z - s
        divergence = behind(signed, carried[:, :nz], axis) - signed
        if axis == 0:
            torch.mul(divergence, scale, out=target)
            carried[:, :nz] = signed[-1]
        else:
            target.add_(divergence, alpha=scale)
    return fetched(*sums)
