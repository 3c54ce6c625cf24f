"""Plain numpy for :mod:`qsm_recon.backend.averaging`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
    """See the kernel."""
    for i in range(first_plane, last_plane):
        # Without weight a voxel does not count, whatever it holds.
        slabs = [x_weight[i, a] * volume[x_first[i] + a] for a in np.flatnonzero(x_weight[i])]
        lines = np.sum(slabs, axis=0) if slabs else np.zeros(volume.shape[1:], np.float32)
        lines = _averaged(lines, y_first, y_weight)
        result[i] = _averaged(np.ascontiguousarray(lines.T), z_first, z_weight).T


def _averaged(lines: NDArray, first: NDArray, weight: NDArray) -> NDArray:
    """Weighted sums along the first axis."""
    total = np.zeros((first.size, lines.shape[1]), np.float32)
    for tap in range(weight.shape[1]):
        total += weight[:, tap, None] * lines[first + tap]
    return total
