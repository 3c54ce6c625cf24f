"""What plain kernels share: parts of buffers, sums, pieces that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

VOXELS_AT_ONCE = 1 << 15


def total(values: NDArray) -> float:
    """Sum in double precision."""
    return float(np.sum(values, dtype=np.float64))


def square(values: NDArray) -> NDArray:
    """|x|² of real or complex numbers, as real ones."""
    if np.iscomplexobj(values):
        return np.asarray(values.real * values.real + values.imag * values.imag)
    return np.asarray(values * values)


def product(a: NDArray, b: NDArray) -> NDArray:
    """Re(a conj(b))."""
    return np.asarray(a.real * b.real + a.imag * b.imag)


def whole_total(values: NDArray, single_last: bool) -> float:
    """Sum over a full spectrum of what is given on its half: interior entries of the last axis count twice."""
    end = total(values[..., -1]) if single_last else 0.0
    return 2.0 * total(values) - total(values[..., 0]) - end


def planes(block: NDArray, first: int, nz: int, *volumes: NDArray) -> tuple[NDArray, ...]:
    """Views of what counts of a block of planes, and of the same planes of whole volumes."""
    last = first + block.shape[0]
    return (block[..., :nz], *(volume[first:last, :, :nz] for volume in volumes))


def rows(first: int, last: int, half: int, *spectra: NDArray) -> tuple[NDArray, ...]:
    """Views of rows of spectra, as far as they count."""
    return tuple(spectrum[:, first:last, :half] for spectrum in spectra)


def symbol(x: NDArray, y: NDArray, z: NDArray, first: int, last: int, half: int) -> NDArray:
    """Sum of one-dimensional symbols on rows of a spectrum."""
    return np.asarray((x[:, None] + y[None, first:last])[..., None] + z[:half])


def pieces(start: int, stop: int) -> Iterator[slice]:
    """Cut a range of voxels."""
    for begin in range(start, stop, VOXELS_AT_ONCE):
        yield slice(begin, min(begin + VOXELS_AT_ONCE, stop))


def clip(values: NDArray, limit: NDArray | np.floating | float) -> NDArray:
    """Limit to [-limit, limit]."""
    return np.asarray(np.minimum(np.maximum(values, -limit), limit))
