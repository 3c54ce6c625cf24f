"""Tensors for :mod:`qsm_recon.backend.kernels.image`."""

from __future__ import annotations

from torch import Tensor

from qsm_recon.backend.tensors.arrays import numbers, planes, square, total


def replace_planes(image: Tensor, fresh: Tensor, first: int, nz: int) -> tuple[float, ...]:
    """See the kernel."""
    new, old = planes(fresh, first, nz, image)
    sums = total(square(new - old)), total(square(new))
    old.copy_(new)
    return numbers(*sums)
