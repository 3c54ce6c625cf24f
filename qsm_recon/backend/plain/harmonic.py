"""Plain numpy for :mod:`qsm_recon.backend.kernels.harmonic`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.plain.arrays import planes, square, total

Scalar = np.floating
Sums = tuple[float, float, float, float, float]


def masked_decay_step(
    predicted: NDArray, split: NDArray, mask: NDArray, first: int, nz: int, ratio: Scalar, relaxation: Scalar
) -> Sums:
    """See the kernel."""
    p, z, m = planes(predicted, first, nz, split, mask)
    factor = ratio * m
    q = z + relaxation * (p - z) + factor * z
    new = q / (1 + factor)
    s = q - new
    sums = (
        total(m * square(p)),
        total(square(p - new)),
        total(square(new - z)),
        total(square(new)),
        total(square(s)),
    )
    z[...] = new
    p[...] = new - s
    return sums
