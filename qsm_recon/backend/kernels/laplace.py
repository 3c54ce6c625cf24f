"""Kernel of the Laplacian inside a region."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import kernel


@kernel
def negative_laplacian(
    first: int,
    last: int,
    image: NDArray,
    inside: NDArray[np.bool_],
    scales: tuple[np.floating, np.floating, np.floating],
    out: NDArray,
) -> None:
    """Fill planes of ``out`` with -Δ of an image inside a region, and 0 elsewhere.

    Parameters
    ----------
    first, last
        Planes (exclusive end).
    image
        (nx, ny, nz) image.
    inside
        (nx, ny, nz) the region; it must not touch the end of the grid.
    scales
        1 / voxel size² along the axes.
    out
        (nx, ny, nz).
    """
    _, ny, nz = image.shape
    ax, ay, az = scales
    centre = 2 * (ax + ay + az)
    for i in range(first, last):
        for j in range(ny):
            row = out[i, j]
            if not 0 < i < image.shape[0] - 1 or not 0 < j < ny - 1:
                row[:] = 0
                continue
            here, within = image[i, j], inside[i, j]
            left, right, below, above = image[i - 1, j], image[i + 1, j], image[i, j - 1], image[i, j + 1]
            row[0] = 0
            row[nz - 1] = 0
            for k in range(1, nz - 1):
                value = centre * here[k] - ax * (left[k] + right[k]) - ay * (below[k] + above[k])
                value -= az * (here[k - 1] + here[k + 1])
                row[k] = value if within[k] else value * 0
