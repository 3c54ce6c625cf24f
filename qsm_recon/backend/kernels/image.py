"""Kernels on whole images."""

from __future__ import annotations

from numpy.typing import NDArray

from qsm_recon.backend.jit import kernel


@kernel
def replace_planes(image: NDArray, fresh: NDArray, first: int, nz: int) -> tuple[float, float]:
    """Copy new planes over old ones; returns the sums of squares of the change and of the new values."""
    change = norm = 0.0
    for i in range(fresh.shape[0]):
        for j in range(fresh.shape[1]):
            new, old = fresh[i, j], image[first + i, j]
            zero = new[0] - new[0]
            change_row = norm_row = zero
            for k in range(nz):
                change_row += (new[k] - old[k]) * (new[k] - old[k])
                norm_row += new[k] * new[k]
                old[k] = new[k]
            change += change_row
            norm += norm_row
    return change, norm
