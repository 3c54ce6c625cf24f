"""Plain numpy for :mod:`qsm_recon.backend.kernels.laplace`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.plain.arrays import total

INNER = slice(1, -1)


def negative_laplacian(
    first: int,
    last: int,
    image: NDArray,
    inside: NDArray[np.bool_],
    scales: tuple[np.floating, np.floating, np.floating],
    out: NDArray,
) -> None:
    """See the kernel."""
    ax, ay, az = scales
    out[first:last] = 0
    for i in range(max(first, 1), min(last, image.shape[0] - 1)):
        here = image[i, INNER, INNER]
        value = 2 * (ax + ay + az) * here
        value = value - ax * (image[i - 1, INNER, INNER] + image[i + 1, INNER, INNER])
        value = value - ay * (image[i, :-2, INNER] + image[i, 2:, INNER])
        value = value - az * (image[i, INNER, :-2] + image[i, INNER, 2:])
        out[i, INNER, INNER] = np.where(inside[i, INNER, INNER], value, value * 0)


def weighted_laplacian(image: NDArray, weight: NDArray, out: NDArray) -> float:
    """See the kernel."""
    out[:] = 0
    energy = 0.0
    for axis in range(3):
        step = image - np.roll(image, -1, axis)
        flow = weight[axis] * step
        out += flow - np.roll(flow, 1, axis)
        energy += total(flow * step)
    return energy
