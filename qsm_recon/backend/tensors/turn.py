"""Tensors for what solvers call of :mod:`qsm_recon.backend.kernels.turn`; groups of voxels are found on the host."""

from __future__ import annotations

from torch import Tensor

from qsm_recon.backend.tensors.arrays import planes, total


def weighted_excess(
    predicted: Tensor, measured: Tensor, weight: Tensor, squared: bool, first: int, nz: int, limit: float
) -> float:
    """See the kernel."""
    p, phi, w = planes(predicted, first, nz, measured, weight)
    beyond = ((p - phi).abs() - limit).clamp(min=0)
    return total(beyond * (w.sqrt() if squared else w)).item()
