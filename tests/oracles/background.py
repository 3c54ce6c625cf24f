"""Background removals as their formulas say: dense matrices, complex Fourier transforms, double precision."""

import numpy as np

from .fields import dipole_kernel, filtered
from .harmonic import ball_offsets, difference_matrix


def centred(field, mask):
    """The field less its mean in the mask, zero outside."""
    return np.where(mask, field - field[mask].mean(), 0)


def projection(field, weight, mask, grid, padded_shape, inside, iterations):
    """Field of the sources outside after so many iterations of conjugate gradient on P D W² D P y = P D W² f."""
    kernel = dipole_kernel("continuous", padded_shape, grid.voxel_size_mm, grid.b0_direction)
    box = tuple(slice(0, n) for n in grid.shape)
    squared, data, scale = np.zeros(padded_shape), np.zeros(padded_shape), np.ones(padded_shape)
    squared[box], data[box] = np.where(mask, weight, 0) ** 2, field
    scale[box] = np.where(mask, inside, 1)

    def normal(y):
        return scale * filtered(kernel, squared * filtered(kernel, scale * y).real).real

    y, residual = np.zeros(padded_shape), scale * filtered(kernel, squared * data).real
    direction = residual.copy()
    for _ in range(iterations):
        image = normal(direction)
        before = np.vdot(residual, residual)
        step = before / np.vdot(direction, image)
        y, residual = y + step * direction, residual - step * image
        direction = residual + np.vdot(residual, residual) / before * direction
    sources = scale * y
    sources[box] = np.where(mask, 0, sources[box])
    return np.where(mask, filtered(kernel, sources).real[box], 0)


def boundary_values(field, mask, voxel_size):
    """Local field and where: Laplace's equation inside, the field itself on voxels with a neighbour outside."""
    inside = np.zeros(mask.shape, bool)
    for voxel in np.argwhere(mask):
        neighbours = [voxel + step * np.eye(3, dtype=int)[axis] for axis in range(3) for step in (-1, 1)]
        on_grid = all(((v >= 0) & (v < mask.shape)).all() for v in neighbours)
        inside[tuple(voxel)] = on_grid and all(mask[tuple(v)] for v in neighbours)
    index = np.full(mask.shape, -1)
    index[inside] = np.arange(inside.sum())
    matrix, right = np.zeros((inside.sum(), inside.sum())), np.zeros(inside.sum())
    for row, voxel in enumerate(np.argwhere(inside)):
        for axis, size in enumerate(voxel_size):
            for step in (-1, 1):
                other = tuple(voxel + step * np.eye(3, dtype=int)[axis])
                matrix[row, row] += size**-2
                if inside[other]:
                    matrix[row, index[other]] -= size**-2
                else:
                    right[row] += size**-2 * field[other]
    local = np.zeros(mask.shape)
    local[inside] = field[inside] - np.linalg.solve(matrix, right)
    return local, inside


def regularised_means(field, mask, grid, radii, weight):
    """Local field min ‖A φ - A f‖² + weight ‖φ‖² over φ in the mask, and where balls fit."""
    matrix, valid = difference_matrix(grid, mask, radii)
    columns = matrix[:, mask.ravel()]
    local = np.zeros(mask.shape)
    local[mask] = np.linalg.solve(
        columns.T @ columns + weight * np.eye(mask.sum()), columns.T @ (matrix @ np.where(mask, field, 0).ravel())
    )
    return local, valid


def truncated_means(field, mask, grid, radii, threshold, padded_shape):
    """Local field by division by the largest ball's kernel where that is above a threshold, and where balls fit."""
    matrix, valid = difference_matrix(grid, mask, radii)
    ball = np.zeros(padded_shape)
    for offset, share in ball_offsets(grid.voxel_size_mm, max(radii)).items():
        ball[offset] += share
    gain = 1 - np.fft.fftn(ball).real
    difference = np.zeros(padded_shape)
    difference[tuple(slice(0, n) for n in grid.shape)][valid] = matrix @ np.where(mask, field, 0).ravel()
    inverse = np.where(np.abs(gain) > threshold, 1 / np.where(gain == 0, 1, gain), 0)
    return filtered(inverse, difference).real[tuple(slice(0, n) for n in grid.shape)], valid


def iterated_means(field, mask, grid, radius, iterations):
    """The published iteration b ← S b where the ball fits, from b = f; the local field f - b, and where."""
    matrix, valid = difference_matrix(grid, mask, [radius])
    background = np.where(mask, field, 0).ravel()
    for _ in range(iterations):
        background[valid.ravel()] -= matrix @ background
    return field - background.reshape(mask.shape), valid
