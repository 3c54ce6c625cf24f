"""Tensors for :mod:`qsm_recon.backend.l1_kernels`; ``field`` is D χ - φ in the proximal steps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qsm_recon.backend.l1_kernels import NEWTON_STEPS_DOUBLE, NEWTON_STEPS_SINGLE
from qsm_recon.backend.tensors.arrays import clip, planes, signs, where
from qsm_recon.backend.tensors.steps import Step, take, unweighted_ends

Sums = tuple[float, ...]
TURN = 2 * math.pi
TINY = 1e-6


def _turns(values: Tensor) -> Tensor:
    """The whole turns (in rad) that are nearest to angles."""
    return TURN * torch.round(values / TURN)


def _chord(residual: Tensor, weight: Tensor) -> Tensor:
    """W |exp(i f) - exp(i φ)|."""
    return 2.0 * weight * torch.sin(0.5 * residual).abs()


def proximal_absolute(residual: Tensor, state: Tensor, weight: Tensor, penalty: float, relaxation: float) -> Step:
    """Step of ‖W (z - φ)‖₁."""
    threshold = weight / penalty
    s_old = clip(state, threshold)
    old = state - s_old
    r = old + relaxation * (residual - old) + s_old
    s = clip(r, threshold)
    return Step(old, r - s, s, r, weight * residual.abs())


def proximal_chord_single(residual: Tensor, state: Tensor, weight: Tensor, penalty: float, relaxation: float) -> Step:
    """Step of ‖W (exp(iz) - exp(iφ))‖₁, a fixed number of Newton's steps."""
    threshold = weight / penalty
    contraction = 1 - threshold / math.pi
    turn = _turns(state)
    s_old = clip(state - turn, threshold)
    d_old = turn + (state - turn - s_old) / contraction.clamp(min=TINY)
    e_old = d_old - _turns(d_old)
    r = d_old + relaxation * (residual - d_old) + s_old * torch.cos(0.5 * e_old)
    turn = _turns(r)
    size = (r - turn).abs()
    excess = (size - threshold).clamp(min=0)
    e = (excess / (1 - 0.125 * threshold * excess).clamp(min=0.5)).clamp(max=math.pi)
    for _ in range(NEWTON_STEPS_SINGLE):
        slope = (1 - 0.5 * threshold * torch.sin(0.5 * e)).clamp(min=0.1)
        e = (e - clip((threshold * torch.cos(0.5 * e) + e - size) / slope, 1.0)).clamp(min=0)
    away = size > threshold
    e = where(away, e, 0.0, e)
    sign = signs(r - turn)
    free = unweighted_ends(weight)
    new = torch.where(free, state + relaxation * (residual - state), turn + sign * e)
    packed = torch.where(away, turn + sign * (threshold + e * contraction), r)
    return Step(
        torch.where(free, state, d_old),
        new,
        where(free, 0.0, sign * (size - e), e),
        torch.where(free, new, packed),
        _chord(residual, weight),
    )


def proximal_chord_double(residual: Tensor, state: Tensor, weight: Tensor, penalty: float, relaxation: float) -> Step:
    """The same, every voxel iterated until Newton's step vanishes."""
    threshold = weight / penalty
    contraction = (1.0 - threshold / math.pi).clamp(min=1e-12)
    turn = _turns(state)
    s_old = clip(state - turn, threshold)
    e_old = (state - turn - s_old) / contraction
    d_old = turn + e_old
    r = d_old + relaxation * (residual - d_old) + s_old * torch.cos(0.5 * e_old)
    turn = _turns(r)
    size = (r - turn).abs()
    sign = signs(r - turn)
    away = moving = size > threshold
    e = where(away, size - threshold, 0.0, size)
    for _ in range(NEWTON_STEPS_DOUBLE):
        if not moving.any():
            break
        slope = (1.0 - 0.5 * threshold * torch.sin(0.5 * e)).clamp(min=0.1)
        step = clip((threshold * torch.cos(0.5 * e) + e - size) / slope, 1.0)
        e = torch.where(moving, e - step, e)
        moving = moving & ~(step.abs() <= 1e-15 * (1.0 + e))
    stored = torch.where(away, turn + sign * (threshold + e * contraction), r)
    return Step(d_old, turn + sign * e, sign * (size - e), stored, _chord(residual, weight))


def absolute_step(
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
    return take(proximal_absolute(p - phi, u, w, penalty, relaxation), p, u, phi)


def chord_step_single(
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
    return take(proximal_chord_single(p - phi, u, w, penalty, relaxation), p, u, phi)


def chord_step_double(
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
    return take(proximal_chord_double(p - phi, u, w, penalty, relaxation), p, u, phi)
