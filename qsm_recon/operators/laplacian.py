"""The Laplacian inside a region, with values on its boundary held fixed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.operators.grid import Grid


def interior(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels of a mask whose six neighbours are all in it; what lies on the end of the grid has none there."""
    inner = np.zeros(mask.shape, bool)
    if min(mask.shape) < 3:
        return inner
    core = mask[1:-1, 1:-1, 1:-1].copy()
    for axis in range(3):
        for shift in (0, 2):
            window = [slice(1, -1)] * 3
            window[axis] = slice(shift, mask.shape[axis] - 2 + shift)
            core &= mask[tuple(window)]
    inner[1:-1, 1:-1, 1:-1] = core
    return inner


class InteriorLaplacian:
    """The operator -Δ on the voxels of a region, by second differences (seven-point stencil).

    Parameters
    ----------
    grid
        Geometry.
    inside
        (nx, ny, nz) the region; its voxels have all their neighbours on the grid.
    """

    def __init__(self, grid: Grid, inside: NDArray[np.bool_]) -> None:
        self._inside = np.ascontiguousarray(inside)
        self._squares = tuple(1.0 / size**2 for size in grid.voxel_size_mm)

    def forward(self, image: NDArray[np.floating]) -> NDArray[np.floating]:
        """-Δ of an image (per mm²) in the region, zero elsewhere; symmetric for images that vanish outside it."""
        from qsm_recon.backend.kernels.laplace import negative_laplacian
        from qsm_recon.backend.threads import parallel_slabs

        out = np.empty_like(image)
        scales = tuple(image.dtype.type(square) for square in self._squares)
        parallel_slabs(negative_laplacian, image.shape[0], image, self._inside, scales, out)
        return out
