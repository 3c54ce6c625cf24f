"""Plain numpy for :mod:`qsm_recon.backend.kernels.morphology`; plane by plane, to spare memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.plain.arrays import planes, total

Scalar = np.floating


def _steps(image: NDArray, plane: int, nz: int) -> tuple[NDArray, NDArray, NDArray]:
    """Periodic forward differences of a plane along x, y and z."""
    here = image[plane, :, :nz]
    after = image[plane + 1 if plane + 1 < image.shape[0] else 0, :, :nz]
    return after - here, np.roll(here, -1, axis=0) - here, np.roll(here, -1, axis=1) - here


def lagged_weights(
    first: int,
    last: int,
    image: NDArray,
    edges: NDArray,
    nz: int,
    inverse_spacing: tuple[Scalar, Scalar, Scalar],
    smoothing: Scalar,
    out: NDArray,
) -> float:
    """See the kernel."""
    energy = 0.0
    for i in range(first, last):
        for axis, step in enumerate(_steps(image, i, nz)):
            m = edges[axis, i, :, :nz]
            slope = m * step * inverse_spacing[axis]
            root = np.sqrt(slope * slope + smoothing * smoothing)
            out[axis, i, :, :nz] = m * m / root
            energy += total(root - smoothing)
    return energy


def weighted_laplacian(
    first: int,
    last: int,
    image: NDArray,
    weights: NDArray,
    nz: int,
    scales: tuple[Scalar, Scalar, Scalar],
    out: NDArray,
) -> float:
    """See the kernel."""
    ax, ay, az = scales
    energy = 0.0
    for i in range(first, last):
        before = i - 1 if i > 0 else image.shape[0] - 1
        dx, dy, dz = _steps(image, i, nz)
        vx, vy, vz = weights[:, i, :, :nz]
        flux_x, flux_y, flux_z = ax * vx * dx, ay * vy * dy, az * vz * dz
        in_x = ax * weights[0, before, :, :nz] * (image[i, :, :nz] - image[before, :, :nz])
        target = (in_x - flux_x) + (np.roll(flux_y, 1, axis=0) - flux_y)
        out[i - first, :, :nz] = target + (np.roll(flux_z, 1, axis=1) - flux_z)
        energy += total(flux_x * dx + flux_y * dy + flux_z * dz)
    return energy


def add_reference_term(
    block: NDArray, image: NDArray, region: NDArray, first: int, nz: int, mean: Scalar, factor: Scalar
) -> float:
    """See the kernel."""
    target, inside, values = planes(block, first, nz, region, image)
    distance = values - mean
    part = np.where(inside != 0, factor * distance, 0)
    target += part
    return total(np.where(inside != 0, part * distance, 0))


def multiply_planes(block: NDArray, weights: NDArray, first: int, nz: int) -> float:
    """See the kernel."""
    values, weight = planes(block, first, nz, weights)
    before = values.copy()
    values *= weight
    return total(values * before)


def next_direction(
    first: int, last: int, residual: NDArray, scaling: NDArray, nz: int, beta: Scalar, direction: NDArray
) -> None:
    """See the kernel."""
    for i in range(first, last):
        r, d = residual[i, :, :nz], direction[i, :, :nz]
        d[...] = (scaling[i, :, :nz] * r if scaling.shape[0] > 0 else r) + beta * d


def advance_solution(
    block: NDArray,
    smooth: NDArray,
    direction: NDArray,
    scaling: NDArray,
    first: int,
    nz: int,
    step: Scalar,
    solution: NDArray,
    residual: NDArray,
) -> float:
    """See the kernel."""
    q, g, d, x, r = planes(block, first, nz, smooth, direction, solution, residual)
    x += step * d
    r -= step * (q + g)
    if scaling.shape[0] > 0:
        return total(scaling[first : first + q.shape[0], :, :nz] * r * r)
    return total(r * r)
