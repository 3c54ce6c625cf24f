"""Kernel that averages a volume over larger voxels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import kernel


def taps(matrix: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """First non-zero column of every row of a banded matrix, and the (rows, width) band that starts there."""
    first = np.argmax(matrix != 0, axis=1)
    width = int((matrix != 0).sum(axis=1).max())
    first = np.minimum(first, matrix.shape[1] - width)
    return first, np.take_along_axis(matrix, first[:, None] + np.arange(width), axis=1).astype(np.float32)


@kernel
def average_block(
    first_plane: int,
    last_plane: int,
    volume: NDArray[np.float32],
    result: NDArray[np.float32],
    x_first: NDArray[np.int64],
    x_weight: NDArray[np.float32],
    y_first: NDArray[np.int64],
    y_weight: NDArray[np.float32],
    z_first: NDArray[np.int64],
    z_weight: NDArray[np.float32],
) -> None:
    """Weighted sums over boxes, with the weights and first indices of every axis as :func:`taps` returns them.

    Parameters
    ----------
    first_plane, last_plane
        Planes of ``result`` to compute.
    volume, result
        Fine and averaged volumes.
    x_first, x_weight, y_first, y_weight, z_first, z_weight
        Bands of the three axes.
    """
    line = np.empty(volume.shape[2], np.float32)
    for i in range(first_plane, last_plane):
        for j in range(result.shape[1]):
            line[:] = 0
            for a in range(x_weight.shape[1]):
                for b in range(y_weight.shape[1]):
                    weight = x_weight[i, a] * y_weight[j, b]
                    if weight != 0:
                        for n in range(line.shape[0]):
                            line[n] += weight * volume[x_first[i] + a, y_first[j] + b, n]
            for k in range(result.shape[2]):
                total = np.float32(0)
                for c in range(z_weight.shape[1]):
                    total += z_weight[k, c] * line[z_first[k] + c]
                result[i, j, k] = total
