"""Spherical means, harmonic fields and background removal by dense matrices."""

import itertools

import numpy as np


def harmonic_polynomials(grid):
    """Five harmonic polynomials (mm) of a grid, each of its shape."""
    x, y, z = np.meshgrid(
        *[(np.arange(n) - (n - 1) / 2) * d for n, d in zip(grid.shape, grid.voxel_size_mm, strict=True)], indexing="ij"
    )
    return [np.ones_like(x), 0.3 * x - y + 0.2 * z, x * y - 2 * y * z, x**2 - z**2, 2 * y**2 - x**2 - z**2]


def ball_offsets(voxel_size, radius, subdivisions=5):
    """Offsets (voxels) of a ball with the share of the ball in each, one subvoxel at a time, moments made equal."""
    shares = {}
    reach = [int(np.ceil(radius / d + 0.5)) for d in voxel_size]
    steps = (np.arange(subdivisions) - (subdivisions - 1) / 2) / subdivisions
    for offset in itertools.product(*(range(-r, r + 1) for r in reach)):
        inside = 0
        for u in itertools.product(steps, repeat=3):
            position = [(o + s) * d for o, s, d in zip(offset, u, voxel_size, strict=True)]
            inside += sum(p * p for p in position) <= radius**2
        if inside:
            shares[offset] = inside
    total = sum(shares.values())
    shares = {offset: share / total for offset, share in shares.items()}
    for axis, d in enumerate(voxel_size):
        moment = sum(share * (offset[axis] * d) ** 2 for offset, share in shares.items())
        correction = (radius**2 / 5 - moment) / (2 * d * d)
        for step in (-1, 0, 1):
            offset = tuple(step if a == axis else 0 for a in range(3))
            shares[offset] = shares.get(offset, 0) + correction * (-2 if step == 0 else 1)
    return shares


def difference_matrix(grid, mask, radii):
    """Dense A of the masked spherical difference: rows for valid voxels of the mask, columns for all voxels."""
    index = np.arange(np.prod(grid.shape)).reshape(grid.shape)
    rows, valid = {}, np.zeros(grid.shape, bool)
    for radius in sorted(radii, reverse=True):
        shares = ball_offsets(grid.voxel_size_mm, radius)
        for voxel in np.argwhere(mask & ~valid):
            row = np.zeros(index.size)
            outside = 0.0
            for offset, share in shares.items():
                where = tuple(voxel + offset)
                if all(0 <= w < n for w, n in zip(where, grid.shape, strict=True)) and mask[where]:
                    row[index[where]] -= share
                else:
                    outside += share
            if outside < 1e-5:
                row[index[tuple(voxel)]] += 1
                rows[index[tuple(voxel)]] = row
                valid[tuple(voxel)] = True
    order = sorted(rows)
    return np.array([rows[i] for i in order]), valid
