"""Tensors for :mod:`qsm_recon.backend.kernels.gradient`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from qsm_recon.backend.tensors.arrays import ahead, behind, clip, square, total
from qsm_recon.backend.tensors.fusing import fusible
from qsm_recon.backend.tensors.scalars import arithmetic_of

Number = Any  # of Python's, or a tensor of one
Settings = Any  # four numbers
"""Threshold before and after a change of the penalty, the factor on the dual, over-relaxation."""


def split(
    dual_of: Callable, difference: Tensor, state: Tensor, weight: Tensor | None, settings: Settings, own: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Proximal step with dual update; returns z before, z, s and the new state (their sum)."""
    old_threshold, new_threshold, ratio, relaxation = settings
    dual = dual_of(state, old_threshold if weight is None else old_threshold * weight, own)
    old = state - dual
    fresh = old + relaxation * (difference - old) + ratio * dual
    dual = dual_of(fresh, new_threshold if weight is None else new_threshold * weight, own)
    return old, fresh - dual, dual, fresh


@cache
def _component(dual: Callable, size: Callable) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """The step of one component; returns z - s, the new state and the five sums, which stay on the device."""

    def values(
        difference: Tensor, state: Tensor, weight: Tensor | None, settings: Settings, own: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        old, new, scaled, fresh = split(dual, difference, state, weight, settings, own)
        value = size(difference, own)
        sums = total(value if weight is None else weight * value), total(square(difference - new))
        rest = total(square(new - old)), total(square(new)), total(square(scaled))
        return new - scaled, fresh, torch.stack((*sums, *rest))

    return fusible(values)


def _clipped(u: Tensor, threshold: Tensor | float, own: Any) -> Tensor:
    return clip(u, threshold)


def _size(difference: Tensor, own: Any) -> Tensor:
    return difference.abs()


def shrink(
    difference: Tensor, state: Tensor, weight: Tensor | None, settings: Settings, *, update: bool = True
) -> tuple[Tensor, Tensor]:
    """Shrink one component; returns z - s and the five sums, which stay on the device."""
    if not update:
        _, new, scaled, _ = split(_clipped, difference, state, weight, settings, ())
        return new - scaled, difference.new_zeros(5, dtype=torch.float64)
    signed, fresh, sums = _component(_clipped, _size)(difference, state, weight, settings, ())
    state.copy_(fresh)
    return signed, sums


def weight_of(weights: Tensor, component: int, first: int, last: int, nz: int) -> Tensor | None:
    """Regularisation weights of a component on planes; None where there are none."""
    count = weights.shape[0]
    return None if count == 0 else weights[component if count > 1 else 0, first:last, :, :nz]


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
    settings, state = (old_threshold, new_threshold, ratio, relaxation), u[0, before : before + 1, :, :nz]
    with arithmetic_of(image):
        _, new, scaled, _ = split(dual, difference, state, weight, settings, numbers)
    out[:, :nz] = (new - scaled)[0]


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
    settings = old_threshold, new_threshold, ratio, relaxation
    step, found = _component(dual, size), image.new_zeros(5, dtype=torch.float64)
    for axis, scale in enumerate(inverse_spacing):
        difference = (ahead(valid, first, last, axis) - valid[first:last]) * scale
        state, weight = u[axis, first:last, :, :nz], weight_of(weights, axis, first, last, nz)
        with arithmetic_of(image):
            signed, fresh, sums = step(difference, state, weight, settings, numbers)
        state.copy_(fresh)
        found += sums
        divergence = behind(signed, carried[:, :nz], axis) - signed
        if axis == 0:
            torch.mul(divergence, scale, out=target)
            carried[:, :nz] = signed[-1]
        else:
            target.add_(divergence, alpha=scale)
    return tuple(found.tolist())
