"""Tensors for :mod:`qsm_recon.backend.kernels.morphology`."""

from __future__ import annotations

import torch
from torch import Tensor

from qsm_recon.backend.tensors.arrays import ahead, behind, planes, total, where

Spacing = tuple[float, float, float]


def lagged_weights(
    first: int,
    last: int,
    image: Tensor,
    edges: Tensor,
    nz: int,
    inverse_spacing: Spacing,
    smoothing: float,
    out: Tensor,
) -> float:
    """See the kernel."""
    valid = image[..., :nz]
    energy = []
    for axis in range(3):
        m = edges[axis, first:last, :, :nz]
        slope = m * (ahead(valid, first, last, axis) - valid[first:last]) * inverse_spacing[axis]
        squared = slope * slope
        root = torch.sqrt(squared + smoothing * smoothing)
        out[axis, first:last, :, :nz] = m * m / root
        energy.append(total(squared / (root + smoothing)))  # root - smoothing, without cancellation
    return torch.stack(energy).sum().item()


def weighted_laplacian(
    first: int, last: int, image: Tensor, weights: Tensor, nz: int, scales: Spacing, out: Tensor
) -> float:
    """See the kernel."""
    valid, target = image[..., :nz], out[..., :nz]
    before = (first - 1) % image.shape[0]
    incoming = scales[0] * weights[0, before, :, :nz] * (valid[first] - valid[before])
    energy = []
    for axis in range(3):
        step = ahead(valid, first, last, axis) - valid[first:last]
        flux = scales[axis] * weights[axis, first:last, :, :nz] * step
        difference = behind(flux, incoming, axis) - flux
        if axis == 0:
            target.copy_(difference)
        else:
            target.add_(difference)
        energy.append(total(flux * step))
    return torch.stack(energy).sum().item()


def add_reference_term(
    block: Tensor, image: Tensor, region: Tensor, first: int, nz: int, mean: float, factor: float
) -> float:
    """See the kernel."""
    target, inside, values = planes(block, first, nz, region, image)
    distance = where(inside != 0, values - mean, 0.0, values)
    target.add_(distance, alpha=factor)
    return factor * total(distance * distance).item()


def multiply_planes(block: Tensor, weights: Tensor, first: int, nz: int) -> float:
    """See the kernel."""
    values, weight = planes(block, first, nz, weights)
    energy = total(values * values * weight)
    values.mul_(weight)
    return energy.item()


def next_direction(
    first: int, last: int, residual: Tensor, scaling: Tensor, nz: int, beta: float, direction: Tensor
) -> None:
    """See the kernel."""
    r, d = residual[first:last, :, :nz], direction[first:last, :, :nz]
    d.mul_(beta).add_(scaling[first:last, :, :nz] * r if scaling.shape[0] > 0 else r)


def advance_solution(
    block: Tensor,
    smooth: Tensor,
    direction: Tensor,
    scaling: Tensor,
    first: int,
    nz: int,
    step: float,
    solution: Tensor,
    residual: Tensor,
) -> float:
    """See the kernel."""
    q, g, d, x, r = planes(block, first, nz, smooth, direction, solution, residual)
    x.add_(d, alpha=step)
    r.sub_(q + g, alpha=step)
    if scaling.shape[0] > 0:
        return total(scaling[first : first + q.shape[0], :, :nz] * r * r).item()
    return total(r * r).item()
