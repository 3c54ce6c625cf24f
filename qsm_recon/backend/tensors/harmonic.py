"""Tensors for :mod:`qsm_recon.backend.kernels.harmonic`."""

from __future__ import annotations

from torch import Tensor

from qsm_recon.backend.tensors.arrays import numbers, planes, square, total


def masked_decay_step(
    predicted: Tensor, split: Tensor, mask: Tensor, first: int, nz: int, ratio: float, relaxation: float
) -> tuple[float, ...]:
    """See the kernel."""
    p, z, m = planes(predicted, first, nz, split, mask)
    factor = ratio * m
    q = z + relaxation * (p - z) + factor * z
    new = q / (1 + factor)
    dual = q - new
    sums = total(m * square(p)), total(square(p - new)), total(square(new - z)), total(square(new)), total(square(dual))
    z.copy_(new)
    p.copy_(new - dual)
    return numbers(*sums)
