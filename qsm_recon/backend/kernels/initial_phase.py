"""Kernels on lists of voxels: the initial phase as a smooth map on nodes, and how well each voxel tells it.

Voxels are given by their places in an image laid out as one row.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import inline, kernel
from qsm_recon.backend.trigonometry import sine_cosine

TWO_PI = 2.0 * math.pi


@inline
def _within(voxel: int, first: float, spacing: float, count: int) -> float:
    """Place of a voxel in nodes, beyond the outer ones that of these."""
    return min(max((voxel - first) / spacing, 0.0), count - 1.0)


@kernel
def share_out_phase(
    phase: NDArray[np.floating],
    power: NDArray[np.floating],
    index: NDArray[np.intp],
    shape: tuple[int, int, int],
    first: NDArray[np.float64],
    spacing: float,
    real: NDArray[np.float64],
    imaginary: NDArray[np.float64],
) -> None:
    """Share the phasors of voxels out linearly among the nodes around them; beyond the outer ones all goes to these.

    Parameters
    ----------
    phase, power
        (n,) phase (rad) and weight; a weight of 0 leaves a voxel out.
    index, shape
        (n,) places of the voxels in an image of that shape.
    first, spacing
        Place of the first node, and voxels from one to the next.
    real, imaginary
        (a, b, c) nodes to add to.
    """
    nx, ny, nz = real.shape
    for v in range(index.size):
        if power[v] == 0.0:
            continue
        row = index[v] // shape[2]
        x = _within(row // shape[1], first[0], spacing, nx)
        y = _within(row % shape[1], first[1], spacing, ny)
        z = _within(index[v] - row * shape[2], first[2], spacing, nz)
        i, j, k = min(int(x), max(nx - 2, 0)), min(int(y), max(ny - 2, 0)), min(int(z), max(nz - 2, 0))
        a, b, c = x - i, y - j, z - k
        turn = phase[v] - TWO_PI * np.rint(phase[v] / TWO_PI)
        sine, cosine = sine_cosine(np.float32(turn))
        for corner in range(8):
            up, over, on = corner >> 2, (corner >> 1) & 1, corner & 1
            share = (a if up else 1.0 - a) * (b if over else 1.0 - b) * (c if on else 1.0 - c) * power[v]
            if share != 0.0:  # the only way to the far side of a single node
                real[i + up, j + over, k + on] += share * cosine
                imaginary[i + up, j + over, k + on] += share * sine


@kernel
def phase_of_nodes(
    start: int,
    stop: int,
    index: NDArray[np.intp],
    shape: tuple[int, int, int],
    first: NDArray[np.float64],
    spacing: float,
    real: NDArray[np.float64],
    imaginary: NDArray[np.float64],
    phase: NDArray[np.float64],
) -> None:
    """Fill ``phase`` (n,), the angle (rad) of what nodes are between linearly; see :func:`share_out_phase`."""
    nx, ny, nz = real.shape
    for v in range(start, stop):
        row = index[v] // shape[2]
        x = _within(row // shape[1], first[0], spacing, nx)
        y = _within(row % shape[1], first[1], spacing, ny)
        z = _within(index[v] - row * shape[2], first[2], spacing, nz)
        i, j, k = int(x), int(y), int(z)
        up, over, on = min(i + 1, nx - 1), min(j + 1, ny - 1), min(k + 1, nz - 1)
        a, b, c = x - i, y - j, z - k
        found_real = found_imaginary = 0.0
        for corner in range(4):
            ii, jj = up if corner >> 1 else i, over if corner & 1 else j
            share = (a if corner >> 1 else 1.0 - a) * (b if corner & 1 else 1.0 - b)
            found_real += share * ((1.0 - c) * real[ii, jj, k] + c * real[ii, jj, on])
            found_imaginary += share * ((1.0 - c) * imaginary[ii, jj, k] + c * imaginary[ii, jj, on])
        phase[v] = math.atan2(found_imaginary, found_real)


@kernel
def initial_phase_variance(
    start: int,
    stop: int,
    magnitude: NDArray[np.floating],
    echo_times: NDArray[np.float64],
    noise_hz: NDArray[np.float64],
    sigma: float,
    variance: NDArray[np.float64],
) -> None:
    """Fill ``variance`` (n,), that of the phase (rad²) at echo time 0, from the noise of signal and frequency."""
    for v in range(start, stop):
        total = 0.0
        moment = 0.0
        for j in range(echo_times.size):
            power = float(magnitude[v, j]) ** 2
            total += power
            moment += power * echo_times[j]
        total = max(total, 1e-30)
        drift = TWO_PI * moment / total * noise_hz[v]
        variance[v] = sigma * sigma / total + drift * drift
