"""Plain numpy for :mod:`qsm_recon.backend.kernels.initial_phase`."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.kernels.initial_phase import TWO_PI
from qsm_recon.backend.plain.arrays import pieces


def _between_nodes(
    index: NDArray[np.intp], shape: tuple[int, int, int], first: NDArray, spacing: float, count: tuple[int, ...]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The node below each voxel (3, n), and how far above it the voxel is, in nodes."""
    places = np.array(np.unravel_index(index, shape))
    last = np.reshape(count, (3, 1)) - 1
    where = np.clip((places - first[:, None]) / spacing, 0, last)
    below = np.minimum(where.astype(np.intp), np.maximum(last - 1, 0))
    return below, where - below


def _corners(
    below: NDArray[np.intp], above: NDArray[np.float64], count: tuple[int, ...]
) -> list[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Flat index and share of each of the eight nodes around."""
    found = []
    for corner in product((0, 1), repeat=3):
        share = np.prod([above[axis] if up else 1 - above[axis] for axis, up in enumerate(corner)], axis=0)
        node = np.ravel_multi_index(tuple(below + np.reshape(corner, (3, 1))), count, mode="clip")
        found.append((node, share))
    return found


def share_out_phase(
    phase: NDArray,
    power: NDArray,
    index: NDArray[np.intp],
    shape: tuple[int, int, int],
    first: NDArray,
    spacing: float,
    real: NDArray,
    imaginary: NDArray,
) -> None:
    """See the kernel."""
    for piece in pieces(0, index.size):
        phasor = power[piece] * np.exp(1j * phase[piece].astype(np.float64))
        between = _between_nodes(index[piece], shape, first, spacing, real.shape)
        for node, share in _corners(*between, real.shape):
            real += np.bincount(node, share * phasor.real, real.size).reshape(real.shape)
            imaginary += np.bincount(node, share * phasor.imag, real.size).reshape(real.shape)


def phase_of_nodes(
    start: int,
    stop: int,
    index: NDArray[np.intp],
    shape: tuple[int, int, int],
    first: NDArray,
    spacing: float,
    real: NDArray,
    imaginary: NDArray,
    phase: NDArray,
) -> None:
    """See the kernel."""
    for piece in pieces(start, stop):
        corners = _corners(*_between_nodes(index[piece], shape, first, spacing, real.shape), real.shape)
        along, across = (sum(share * part.ravel()[node] for node, share in corners) for part in (real, imaginary))
        phase[piece] = np.arctan2(across, along)


def initial_phase_variance(
    start: int,
    stop: int,
    magnitude: NDArray,
    echo_times: NDArray[np.float64],
    noise_hz: NDArray[np.float64],
    sigma: float,
    variance: NDArray,
) -> None:
    """See the kernel."""
    for piece in pieces(start, stop):
        power = np.square(magnitude[piece], dtype=np.float64)
        total = np.maximum(power.sum(axis=1), 1e-30)
        variance[piece] = sigma**2 / total + (TWO_PI * (power @ echo_times) / total * noise_hz[piece]) ** 2
