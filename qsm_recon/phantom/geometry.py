"""The two grids of the phantom: the fine one it is built on and the one it is delivered on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FIELD_OF_VIEW_MM = (164.0, 205.0, 205.0)
CENTRE_MM = (0.0, -16.5, 9.0)
"""Centre of the field of view relative to the origin near the anterior commissure."""


@dataclass(frozen=True)
class ImageGrid:
    """A grid whose voxels tile the field of view.

    Parameters
    ----------
    shape
        Number of voxels.
    voxel_size_mm
        Voxel edges.
    """

    shape: tuple[int, int, int]
    voxel_size_mm: tuple[float, float, float]

    @property
    def origin_mm(self) -> tuple[float, float, float]:
        """Centre of the first voxel."""
        x, y, z = (c - d * (n - 1) / 2 for c, d, n in zip(CENTRE_MM, self.voxel_size_mm, self.shape, strict=True))
        return (x, y, z)

    @property
    def axes_mm(self) -> list[NDArray[np.float32]]:
        """Coordinates of the voxel centres along each axis."""
        return [
            (o + d * np.arange(n)).astype(np.float32)
            for o, d, n in zip(self.origin_mm, self.voxel_size_mm, self.shape, strict=True)
        ]

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4) voxel-to-world matrix."""
        matrix = np.diag([*self.voxel_size_mm, 1.0])
        matrix[:3, 3] = self.origin_mm
        return matrix


def scanner_affine(grid: ImageGrid, b0_direction: tuple[float, float, float]) -> NDArray[np.float64]:
    """(4, 4) voxel-to-world matrix of a head tilted in a scanner whose main field lies along the world's third axis.

    Parameters
    ----------
    grid
        The image grid.
    b0_direction
        Unit direction of the main field in voxel axes; the smallest rotation that brings it upright is applied.
    """
    b = np.asarray(b0_direction, dtype=float)
    axis = np.cross(b, (0.0, 0.0, 1.0))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    # Rodrigues' formula; for a field pointing down, any half turn about a level axis.
    rotation = np.diag([1.0, -1.0, -1.0]) if b[2] < -1 + 1e-12 else np.eye(3) + cross + cross @ cross / (1 + b[2])
    affine = grid.affine
    affine[:3] = rotation @ affine[:3]
    return affine


def output_grid(voxel_size_mm: tuple[float, float, float]) -> ImageGrid:
    """Grid of the given voxel size that covers the field of view as nearly as whole voxels can."""
    nx, ny, nz = (max(8, round(f / d)) for f, d in zip(FIELD_OF_VIEW_MM, voxel_size_mm, strict=True))
    return ImageGrid((nx, ny, nz), voxel_size_mm)


def fine_grid(output: ImageGrid, spacing_mm: float) -> ImageGrid:
    """Grid of about ``spacing_mm`` with exactly the field of view of ``output``."""
    extents = [n * d for n, d in zip(output.shape, output.voxel_size_mm, strict=True)]
    nx, ny, nz = (max(n, round(e / spacing_mm)) for n, e in zip(output.shape, extents, strict=True))
    return ImageGrid((nx, ny, nz), (extents[0] / nx, extents[1] / ny, extents[2] / nz))
