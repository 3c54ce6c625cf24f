"""Fused kernel of a background field: the proximal step of ½ beta ‖M Δh‖² and its dual update in one pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import kernel

Scalar = np.floating
Sums = tuple[float, float, float, float, float]


@kernel
def masked_decay_step(
    predicted: NDArray,
    split: NDArray,
    mask: NDArray,
    first: int,
    nz: int,
    ratio: Scalar,
    relaxation: Scalar,
) -> Sums:
    """Step of ½ beta ‖M z‖² on a block of planes: z shrinks by 1 + beta/mu inside the mask and is free outside.

    Parameters
    ----------
    predicted
        (planes, ny, stride) what z is split from; replaced by z - s.
    split
        (nx, ny, stride) z, updated; the dual is ratio · M · z.
    mask
        (nx, ny, stride) M, 0 or 1.
    first
        Plane of the volumes that the block starts at.
    nz
        Number of voxels that count along the last axis.
    relaxation
        Over-relaxation factor.
    ratio
        beta / mu.

    Returns
    -------
    tuple of float
        Sums of M |predicted|², |predicted - z|², |z - z_old|², |z|² and |s|².
    """
    planes, ny = predicted.shape[0], predicted.shape[1]
    one = relaxation / relaxation
    energy = primal = change = split_norm = dual_norm = 0.0
    for i in range(planes):
        for j in range(ny):
            p, z, m = predicted[i, j], split[first + i, j], mask[first + i, j]
            zero = p[0] - p[0]
            e_row = p_row = c_row = z_row = s_row = zero
            for k in range(nz):
                old, given, factor = z[k], p[k], ratio * m[k]
                q = old + relaxation * (given - old) + factor * old
                new = q / (one + factor)
                s = q - new
                e_row += m[k] * given * given
                p_row += (given - new) * (given - new)
                c_row += (new - old) * (new - old)
                z_row += new * new
                s_row += s * s
                z[k] = new
                p[k] = new - s
            energy += e_row
            primal += p_row
            change += c_row
            split_norm += z_row
            dual_norm += s_row
    return energy, primal, change, split_norm, dual_norm
