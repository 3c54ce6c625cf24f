"""Tensors for :mod:`qsm_recon.backend.field_kernels`."""

from __future__ import annotations

import torch
from torch import Tensor

from qsm_recon.backend.field_kernels import FURTHER_STEPS_SINGLE, NEWTON_STEPS_DOUBLE
from qsm_recon.backend.tensors.arrays import clip, planes, square, where
from qsm_recon.backend.tensors.steps import Step, take, unweighted_ends

Sums = tuple[float, ...]
SLOPE_FLOOR, DAMPING = 0.1, 0.6


def _bounded_step(value: Tensor, slope: Tensor) -> Tensor:
    return clip(value / slope.clamp(min=SLOPE_FLOOR), 1.0)


def _curved_step(value: Tensor, slope: Tensor, curvature: Tensor) -> Tensor:
    newton = _bounded_step(value, slope)
    correction = 1.0 - 0.5 * newton * curvature / slope.clamp(min=SLOPE_FLOOR)
    return clip(newton / correction.clamp(0.5, 2.0), 1.0)


def _phase_misfit(field: Tensor, measured: Tensor, weight: Tensor) -> Tensor:
    """W² |exp(i f) - exp(i φ)|² / 2."""
    return 2.0 * weight * square(torch.sin(0.5 * (field - measured)))


def proximal_quadratic(
    field: Tensor, old: Tensor, measured: Tensor, weight: Tensor, dual_scale: float, penalty: float, relaxation: float
) -> Step:
    """Step of ½‖W (z - φ)‖²."""
    q = old + relaxation * (field - old) + dual_scale * weight * (old - measured)
    new = (weight * measured + penalty * q) / (weight + penalty)
    return Step(old, new, q - new, new, 0.5 * weight * square(field - measured))


def proximal_nonlinear_single(
    field: Tensor, old: Tensor, measured: Tensor, weight: Tensor, dual_scale: float, penalty: float, relaxation: float
) -> Step:
    """Step of ½‖W (exp(iz) - exp(iφ))‖², a fixed number of Halley's steps."""
    a, start = weight / penalty, old - measured
    sine, cosine = torch.sin(start), torch.cos(start)
    convex = (cosine > 0.5) | (relaxation == 1)
    factor = where(convex | (a == 0), relaxation, DAMPING, field)
    r = start + factor * (field - old) + dual_scale * weight * sine
    residual = a * sine + start - r
    d = start - _curved_step(residual, a * cosine + 1, -a * sine)
    for _ in range(FURTHER_STEPS_SINGLE):
        sine, cosine = torch.sin(d), torch.cos(d)
        d = d - _curved_step(a * sine + d - r, a * cosine + 1, -a * sine)
    d = torch.where(convex, d, start - residual / (1 + a))
    free = unweighted_ends(weight)
    new = torch.where(free, old + relaxation * (field - old), measured + d)
    dual = where(free, 0.0, r - d, field)
    return Step(old, new, dual, new, _phase_misfit(field, measured, weight))


def proximal_nonlinear_double(
    field: Tensor, old: Tensor, measured: Tensor, weight: Tensor, dual_scale: float, penalty: float, relaxation: float
) -> Step:
    """The same, every voxel iterated until Newton's step vanishes."""
    a, start = weight / penalty, old - measured
    convex = (torch.cos(start) > 0.5) | (relaxation == 1.0)
    factor = where(convex | (a == 0), relaxation, DAMPING, field)
    r = start + factor * (field - old) + dual_scale * weight * torch.sin(start)
    d, moving = start, convex
    for _ in range(NEWTON_STEPS_DOUBLE):
        if not moving.any():
            break
        step = _bounded_step(a * torch.sin(d) + d - r, a * torch.cos(d) + 1.0)
        d = torch.where(moving, d - step, d)
        moving = moving & ~(step.abs() <= 1e-15 * (1.0 + d.abs()))
    d = torch.where(convex, d, start - (a * torch.sin(start) + start - r) / (1.0 + a))
    new = measured + d
    return Step(old, new, r - d, new, _phase_misfit(field, measured, weight))


def proximal_decay(field: Tensor, old: Tensor, mask: Tensor, ratio: float, relaxation: float) -> Step:
    """Step of ½ beta ‖M z‖²."""
    factor = ratio * mask
    q = old + relaxation * (field - old) + factor * old
    new = q / (1 + factor)
    return Step(old, new, q - new, new, mask * square(field))


def quadratic_step(
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
    return take(proximal_quadratic(p, z, phi, w, dual_scale, penalty, relaxation), p, z)


def nonlinear_step_single(
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
    return take(proximal_nonlinear_single(p, z, phi, w, dual_scale, penalty, relaxation), p, z)


def nonlinear_step_double(
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
    return take(proximal_nonlinear_double(p, z, phi, w, dual_scale, penalty, relaxation), p, z)


def masked_decay_step(
    predicted: Tensor, split: Tensor, mask: Tensor, first: int, nz: int, ratio: float, relaxation: float
) -> Sums:
    """See the kernel."""
    p, z, m = planes(predicted, first, nz, split, mask)
    return take(proximal_decay(p, z, m, ratio, relaxation), p, z)
