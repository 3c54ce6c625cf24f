"""Kernels of the Laplacian: inside a region, and weighted on a periodic grid."""

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


@kernel
def weighted_laplacian(image: NDArray, weight: NDArray, out: NDArray) -> float:
    """Fill ``out`` with Eᵀ W E of an image, E its periodic forward differences; returns Σ W (E image)².

    Parameters
    ----------
    image
        (nx, ny, nz).
    weight
        (3, nx, ny, nz) weight of the difference from each voxel to the next one along every axis, those in units of the
        voxel.
    out
        (nx, ny, nz).
    """
    nx, ny, nz = image.shape
    total = 0.0
    for i in range(nx):
        before_i, after_i = (i - 1 if i else nx - 1), (i + 1 if i + 1 < nx else 0)
        for j in range(ny):
            before_j, after_j = (j - 1 if j else ny - 1), (j + 1 if j + 1 < ny else 0)
            here, row = image[i, j], out[i, j]
            left, right, below, above = image[before_i, j], image[after_i, j], image[i, before_j], image[i, after_j]
            from_left, to_right = weight[0, before_i, j], weight[0, i, j]
            from_below, to_above, onward = weight[1, i, before_j], weight[1, i, j], weight[2, i, j]
            energy = here[0] * 0
            for k in range(nz):
                along, up = here[k] - right[k], here[k] - above[k]
                row[k] = to_right[k] * along + from_left[k] * (here[k] - left[k])
                row[k] += to_above[k] * up + from_below[k] * (here[k] - below[k])
                energy += to_right[k] * along * along + to_above[k] * up * up
            for k in range(nz):
                following = k + 1 if k + 1 < nz else 0
                step = here[k] - here[following]
                flow = onward[k] * step
                row[k] += flow
                row[following] -= flow
                energy += flow * step
            total += energy
    return total
