"""Tensors for :mod:`qsm_recon.backend.field_sweep`: the scalar steps of fidelities, on whole volumes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from qsm_recon.backend.tensors.arrays import planes, square, total, where
from qsm_recon.backend.tensors.fusing import fusible
from qsm_recon.backend.tensors.scalars import arithmetic_of

Sums = tuple[float, ...]
Outcome = tuple[Tensor, Tensor, Tensor]
Number = Any  # of Python's, or a tensor of one


def outcome(p: Tensor, new: Tensor, old: Tensor, dual: Tensor, stored: Tensor, value: Tensor) -> Outcome:
    """What replaces D χ (z - s) and the state, and the five sums of the kernels, which stay on the device."""
    distance, change = square(p - new), square(new - old)
    sums = total(value), total(distance), total(change), total(square(new)), total(square(dual))
    return new - dual, stored, torch.stack(sums)


def store(p: Tensor, u: Tensor, found: Outcome) -> Sums:
    """Write what a step gives into the buffers, and fetch its sums."""
    reflected, stored, sums = found
    u.copy_(stored)
    p.copy_(reflected)
    return tuple(sums.tolist())


def _ends(weight: Tensor) -> Tensor:
    """Mark what lies before the first and behind the last weight of a row that is not zero."""
    there = (weight != 0).to(torch.int8)
    nz = weight.shape[-1]
    begin, end = there.argmax(dim=-1, keepdim=True), nz - there.flip(-1).argmax(dim=-1, keepdim=True)
    place = torch.arange(nz, device=weight.device)
    return (place < begin) | (place >= end) | (there.amax(dim=-1, keepdim=True) == 0)


@cache
def _plain(step: Callable[..., Any]) -> Callable[..., Outcome]:
    def values(p: Tensor, u: Tensor, phi: Tensor, w: Tensor, *settings: Any) -> Outcome:
        return outcome(p, *step(p, u, phi, w, *settings))

    return fusible(values)


@cache
def _weighted(step: Callable[..., Any], of_residual: bool) -> Callable[..., Outcome]:
    def values(
        p: Tensor, u: Tensor, phi: Tensor, w: Tensor, dual_scale: Number, penalty: Number, relaxation: Number, own: Any
    ) -> Outcome:
        free, former = _ends(w), u + phi if of_residual else u
        new, old, dual, stored, value = step(p, u, phi, w, dual_scale, penalty, relaxation, own)
        old = torch.where(free, former, old)
        new = torch.where(free, old + relaxation * (p - old), new)
        dual, value = where(free, 0.0, dual, p), where(free, 0.0, value, p)
        return outcome(p, new, old, dual, torch.where(free, new - phi if of_residual else new, stored), value)

    return fusible(values)


@cache
def _proximal(proximal: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Outcome]:
    def values(p: Tensor, u: Tensor, phi: Tensor, w: Tensor, penalty: Number, relaxation: Number, own: Any) -> Outcome:
        residual, threshold = p - phi, w / penalty
        old = proximal(u, threshold, own)
        r = old + relaxation * (residual - old) + (u - old)
        new = proximal(r, threshold, own)
        return outcome(p, phi + new, phi + old, r - new, r, w * function(residual, own))

    return fusible(values)


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
    with arithmetic_of(p):
        found = _plain(step)(p, u, phi, w, dual_scale, penalty, relaxation, numbers)
    return store(p, u, found)


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
    with arithmetic_of(p):
        found = _weighted(step, of_residual)(p, u, phi, w, dual_scale, penalty, relaxation, numbers)
    return store(p, u, found)


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
    with arithmetic_of(p):
        found = _proximal(proximal, function)(p, u, phi, w, penalty, relaxation, numbers)
    return store(p, u, found)
