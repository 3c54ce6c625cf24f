"""Tensors for :mod:`qsm_recon.backend.held_kernels`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qsm_recon.backend.held_kernels import LIMIT, NEWTON_STEPS
from qsm_recon.backend.tensors.arrays import clip, planes, signs, square, where
from qsm_recon.backend.tensors.steps import Step, take

Sums = tuple[float, ...]
END = float(LIMIT)


def proximal_held(residual: Tensor, state: Tensor, weight: Tensor, penalty: float, relaxation: float) -> Step:
    """Step of Σ W g(z - φ) in terms of residuals, g(d) = 2 |sin(d/2)| that goes on with slope 1."""
    threshold = weight / penalty
    bend = END + threshold * math.cos(0.5 * END)
    beyond = state.abs() - threshold
    e_old = beyond.clamp(0, END)
    size_old = e_old + threshold * torch.cos(0.5 * e_old)
    far = beyond > END
    size_old = torch.where(far, beyond - END + bend, size_old)
    e_old = torch.where(far, (size_old - threshold).clamp(min=END), e_old)
    s_old = torch.where(beyond > 0, size_old - e_old, state.abs())
    side = signs(state)
    d_old = side * e_old
    r = d_old + relaxation * (residual - d_old) + side * s_old
    size = r.abs()
    e = (size - threshold).clamp(0, END)
    for _ in range(NEWTON_STEPS):
        slope = (1 - 0.5 * threshold * torch.sin(0.5 * e)).clamp(min=0.125)
        e = (e - (threshold * torch.cos(0.5 * e) + e - size) / slope).clamp(0, END)
    stored = threshold + e
    far = size > bend
    e = torch.where(far, (size - threshold).clamp(min=END), e)
    stored = torch.where(far, threshold + END + size - bend, stored)
    resting = size <= threshold
    e, stored = where(resting, 0.0, e, e), torch.where(resting, size, stored)
    side = signs(r)
    distance = residual.abs()
    near = distance.clamp(max=END)
    fidelity = weight * (2 * torch.sin(0.5 * near) + (distance - near))
    return Step(d_old, side * e, side * (size - e), side * stored, fidelity)


def proximal_held_square(
    field: Tensor, old: Tensor, measured: Tensor, weight: Tensor, dual_scale: float, penalty: float, relaxation: float
) -> Step:
    """Step of Σ W² g(z - φ), g(d) = 1 - cos d that goes on as ½ d² rises."""
    end_slope = math.sin(END)
    a, start = weight / penalty, old - measured
    near = clip(start, END)
    r = start + relaxation * (field - old) + dual_scale * weight * (torch.sin(near) + start - near)
    size = r.abs()
    e = (size / (1 + a)).clamp(max=END)
    for _ in range(NEWTON_STEPS):
        e = (e - (a * torch.sin(e) + e - size) / (1 + a * torch.cos(e))).clamp(0, END)
    bend = END + a * end_slope
    e = torch.where(size > bend, END + (size - bend) / (1 + a), e)
    d = signs(r) * e
    distance = (field - measured).abs()
    inner = distance.clamp(max=END)
    outer = distance - inner
    fidelity = weight * (2 * square(torch.sin(0.5 * inner)) + outer * (end_slope + 0.5 * outer))
    new = measured + d
    return Step(old, new, r - d, new, fidelity)


def held_step(
    predicted: Tensor,
    state: Tensor,
    measured: Tensor,
    weight: Tensor,
    first: int,
    nz: int,
    penalty: float,
    relaxation: float,
) -> Sums:
    """See the kernel."""
    p, u, phi, w = planes(predicted, first, nz, state, measured, weight)
    return take(proximal_held(p - phi, u, w, penalty, relaxation), p, u, phi)


def held_square_step(
    predicted: Tensor,
    split: Tensor,
    measured: Tensor,
    weight: Tensor,
    first: int,
    nz: int,
    dual_scale: float,
    penalty: float,
    relaxation: float,
) -> Sums:
    """See the kernel."""
    p, z, phi, w = planes(predicted, first, nz, split, measured, weight)
    return take(proximal_held_square(p, z, phi, w, dual_scale, penalty, relaxation), p, z)
