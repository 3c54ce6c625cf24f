"""Tensors for :mod:`qsm_recon.backend.kernels.misfit`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qsm_recon.backend.tensors.arrays import planes, total


def quadratic_misfit(
    predicted: Tensor, measured: Tensor, weight: Tensor, first: int, nz: int, scale: float, out: Tensor
) -> float:
    """See the kernel."""
    f, phi, w = planes(predicted, first, nz, measured, weight)
    u = f - phi
    pull = w * u
    out[..., :nz] = pull
    return 0.5 * total(pull * u).item()


def sine_misfit_single(
    predicted: Tensor, measured: Tensor, weight: Tensor, first: int, nz: int, scale: float, out: Tensor
) -> float:
    """See the kernel."""
    f, phi, w = planes(predicted, first, nz, measured, weight)
    angle = 0.5 * scale * (f - phi)
    sine = torch.sin(angle)
    value = 2.0 * total(w * sine * sine).item() / (scale * scale)
    out[..., :nz] = w * (2.0 / scale) * sine * torch.cos(angle)
    return value


def sine_misfit_double(
    predicted: Tensor, measured: Tensor, weight: Tensor, first: int, nz: int, scale: float, out: Tensor
) -> float:
    """See the kernel."""
    return sine_misfit_single(predicted, measured, weight, first, nz, scale, out)


def held_misfit(
    predicted: Tensor,
    measured: Tensor,
    weight: Tensor,
    first: int,
    nz: int,
    scale: float,
    limit: float,
    out: Tensor,
) -> float:
    """See the kernel."""
    f, phi, w = planes(predicted, first, nz, measured, weight)
    beyond = (f - phi).mul_(scale)
    near = beyond.clamp(-limit, limit)
    beyond -= near
    out[..., :nz] = torch.sin(near).add_(beyond).mul_(w).div_(scale)
    value = near.mul_(0.5).sin_().square_().mul_(2.0)
    size = beyond.abs_()
    value.addcmul_(size, size, value=0.5).add_(size, alpha=math.sin(limit))
    return total(value.mul_(w)).item() / (scale * scale)
