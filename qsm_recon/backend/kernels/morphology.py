"""Fused kernels on the weighted gradient: lagged weights, their weighted Laplacian, and the steps of a linear solver.

Arrays have the layout of :class:`qsm_recon.backend.fft.FourierTransform`.  Differences are periodic on the (padded)
grid; an edge weight of zero on the last plane of an axis turns that into the Neumann condition.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import inline, kernel

Scalar = np.floating


@inline
def _root(slope: Scalar, smoothing: Scalar) -> Scalar:
    return np.sqrt(slope * slope + smoothing * smoothing)


@kernel
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
    """Fill ``out`` with V = M² / sqrt((M ∇χ)² + e²) on planes; returns the sum of sqrt((M ∇χ)² + e²) - e.

    Parameters
    ----------
    first, last
        Planes (exclusive end).
    image
        (nx, ny, stride) susceptibility χ.
    edges
        (3, nx, ny, stride) weights M of the components.
    nz
        Number of voxels that count along the last axis.
    inverse_spacing
        1 / voxel size along the axes.
    smoothing
        e, in the unit of the gradient.
    out
        (3, nx, ny, stride) receives V.
    """
    nx, ny, _ = image.shape
    hx, hy, hz = inverse_spacing
    total = 0.0
    for i in range(first, last):
        after = i + 1 if i + 1 < nx else 0
        for j in range(ny):
            row, row_x = image[i, j], image[after, j]
            row_y = image[i, j + 1 if j + 1 < ny else 0]
            mx, my, mz = edges[0, i, j], edges[1, i, j], edges[2, i, j]
            vx, vy, vz = out[0, i, j], out[1, i, j], out[2, i, j]
            end = nz - 1
            root = _root(mz[end] * (row[0] - row[end]) * hz, smoothing)
            vz[end] = mz[end] * mz[end] / root
            sum_row = root - smoothing
            for k in range(nz):
                root_x = _root(mx[k] * (row_x[k] - row[k]) * hx, smoothing)
                root_y = _root(my[k] * (row_y[k] - row[k]) * hy, smoothing)
                vx[k] = mx[k] * mx[k] / root_x
                vy[k] = my[k] * my[k] / root_y
                sum_row += (root_x - smoothing) + (root_y - smoothing)
            for k in range(end):
                root_z = _root(mz[k] * (row[k + 1] - row[k]) * hz, smoothing)
                vz[k] = mz[k] * mz[k] / root_z
                sum_row += root_z - smoothing
            total += sum_row
    return total


@kernel
def weighted_laplacian(
    first: int,
    last: int,
    image: NDArray,
    weights: NDArray,
    nz: int,
    scales: tuple[Scalar, Scalar, Scalar],
    out: NDArray,
) -> float:
    """Fill ``out`` with ∇ᵀ V ∇ d on planes; returns the sum of V |∇d|² over them.

    Parameters
    ----------
    first, last
        Planes (exclusive end).
    image
        (nx, ny, stride) d.
    weights
        (3, nx, ny, stride) V.
    nz
        Number of voxels that count along the last axis.
    scales
        1 / voxel size² along the axes, times any factor of the whole.
    out
        (last - first, ny, stride).
    """
    nx, ny, stride = image.shape
    ax, ay, az = scales
    along_z = np.empty(stride, image.dtype)
    total = 0.0
    for i in range(first, last):
        after = i + 1 if i + 1 < nx else 0
        before = i - 1 if i > 0 else nx - 1
        for j in range(ny):
            above, below = j + 1 if j + 1 < ny else 0, j - 1 if j > 0 else ny - 1
            row, row_x, row_y = image[i, j], image[after, j], image[i, above]
            back_x, back_y = image[before, j], image[i, below]
            vx, vy, vz = weights[0, i, j], weights[1, i, j], weights[2, i, j]
            ux, uy = weights[0, before, j], weights[1, i, below]
            target = out[i - first, j]
            end = nz - 1
            difference = row[0] - row[end]
            along_z[end] = az * vz[end] * difference
            sum_row = along_z[end] * difference
            for k in range(nz):
                dx, dy = row_x[k] - row[k], row_y[k] - row[k]
                flux_x, flux_y = ax * vx[k] * dx, ay * vy[k] * dy
                in_x, in_y = ax * ux[k] * (row[k] - back_x[k]), ay * uy[k] * (row[k] - back_y[k])
                target[k] = (in_x - flux_x) + (in_y - flux_y)
                sum_row += flux_x * dx + flux_y * dy
            for k in range(end):
                dz = row[k + 1] - row[k]
                along_z[k] = az * vz[k] * dz
                sum_row += along_z[k] * dz
            target[0] += along_z[end] - along_z[0]
            for k in range(1, nz):
                target[k] += along_z[k - 1] - along_z[k]
            total += sum_row
    return total


@kernel
def add_reference_term(
    block: NDArray, image: NDArray, region: NDArray, first: int, nz: int, mean: Scalar, factor: Scalar
) -> float:
    """Add factor · (d - mean) inside a region to planes; returns what that adds to the quadratic form."""
    total = 0.0
    for i in range(block.shape[0]):
        for j in range(block.shape[1]):
            inside, row, target = region[first + i, j], image[first + i, j], block[i, j]
            for k in range(nz):
                if inside[k]:
                    part = factor * (row[k] - mean)
                    target[k] += part
                    total += part * (row[k] - mean)
    return total


@kernel
def multiply_planes(block: NDArray, weights: NDArray, first: int, nz: int) -> float:
    """Multiply planes by weights W²; returns the sum of W² times the squares of what was there."""
    total = 0.0
    for i in range(block.shape[0]):
        for j in range(block.shape[1]):
            row, weight = block[i, j], weights[first + i, j]
            sum_row = row[0] - row[0]
            for k in range(nz):
                value = weight[k] * row[k]
                sum_row += value * row[k]
                row[k] = value
            total += sum_row
    return total


@kernel
def next_direction(
    first: int, last: int, residual: NDArray, scaling: NDArray, nz: int, beta: Scalar, direction: NDArray
) -> None:
    """Next direction: d ← P² r + beta d on planes; an empty ``scaling`` stands for P² = 1."""
    scaled = scaling.shape[0] > 0
    for i in range(first, last):
        for j in range(residual.shape[1]):
            r, d = residual[i, j], direction[i, j]
            if scaled:
                p = scaling[i, j]
                for k in range(nz):
                    d[k] = p[k] * r[k] + beta * d[k]
            else:
                for k in range(nz):
                    d[k] = r[k] + beta * d[k]


@kernel
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
    """One step: x ← x + step d and r ← r - step (block + smooth) on planes; returns the sum of P² r²."""
    total = 0.0
    scaled = scaling.shape[0] > 0
    for i in range(block.shape[0]):
        for j in range(block.shape[1]):
            q, g, d = block[i, j], smooth[first + i, j], direction[first + i, j]
            x, r = solution[first + i, j], residual[first + i, j]
            sum_row = q[0] - q[0]
            if scaled:
                p = scaling[first + i, j]
                for k in range(nz):
                    x[k] += step * d[k]
                    r[k] -= step * (q[k] + g[k])
                    sum_row += p[k] * r[k] * r[k]
            else:
                for k in range(nz):
                    x[k] += step * d[k]
                    r[k] -= step * (q[k] + g[k])
                    sum_row += r[k] * r[k]
            total += sum_row
    return total
