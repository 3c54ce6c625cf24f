"""Tensors for :mod:`qsm_recon.backend.field_sweep`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from qsm_recon.backend.tensors.arrays import numbers as fetched
from qsm_recon.backend.tensors.arrays import planes, square, total

Sums = tuple[float, ...]


def _ends(weight: Tensor) -> Tensor:
    """Mark what lies before the first and behind the last weight of a row that is not zero."""
    there = (weight != 0).to(torch.int8)
    nz = weight.shape[-1]
    begin, end = there.argmax(dim=-1, keepdim=True), nz - there.flip(-1).argmax(dim=-1, keepdim=True)
    place = torch.arange(nz, device=weight.device)
    return (place < begin) | (place >= end) | (there.amax(dim=-1, keepdim=True) == 0)


def _finish(p: Tensor, u: Tensor, new: Tensor, old: Tensor, dual: Tensor, stored: Tensor, value: Tensor) -> Sums:
    """Sum, and write what a step gives into the buffers."""
    sums = total(value), total(square(p - new)), total(square(new - old)), total(square(new)), total(square(dual))
    signed = new - dual
    u.copy_(stored)
    p.copy_(signed)
    return fetched(*sums)


def sweep(
    step: Callable[..., Any],
    predicted: Tensor,
    state: Tensor,
    measured: Tensor,
    weight: Tensor,
    first: int,
    nz: int,
    dual_scale: float,
    penalty: float,
    relaxation: float,
    numbers: tuple[float, ...],
) -> Sums:
    """See the kernel."""
    p, u, phi, w = planes(predicted, first, nz, state, measured, weight)
    return _finish(p, u, *step(p, u, phi, w, dual_scale, penalty, relaxation, numbers))


def weighted_sweep(
    step: Callable[..., Any],
    predicted: Tensor,
    state: Tensor,
    measured: Tensor,
    weight: Tensor,
    first: int,
    nz: int,
    dual_scale: float,
    penalty: float,
    relaxation: float,
    numbers: tuple[float, ...],
    of_residual: bool,
) -> Sums:
    """See the kernel."""
    p, u, phi, w = planes(predicted, first, nz, state, measured, weight)
    free, offset = _ends(w), phi if of_residual else torch.zeros_like(phi)
    new, old, dual, stored, value = step(p, u, phi, w, dual_scale, penalty, relaxation, numbers)
    old = torch.where(free, u + offset, old)
    new = torch.where(free, old + relaxation * (p - old), new)
    dual, value = (torch.where(free, torch.zeros_like(part), part) for part in (dual, value))
    return _finish(p, u, new, old, dual, torch.where(free, new - offset, stored), value)


def proximal_sweep(
    proximal: Callable[..., Any],
    function: Callable[..., Any],
    predicted: Tensor,
    state: Tensor,
    measured: Tensor,
    weight: Tensor,
    first: int,
    nz: int,
    penalty: float,
    relaxation: float,
    numbers: tuple[float, ...],
) -> Sums:
    """See the kernel."""
    p, u, phi, w = planes(predicted, first, nz, state, measured, weight)
    residual, threshold = p - phi, w / penalty
    old = proximal(u, threshold, numbers)
    r = old + relaxation * (residual - old) + (u - old)
    new = proximal(r, threshold, numbers)
    return _finish(p, u, phi + new, phi + old, r - new, r, w * function(residual, numbers))
