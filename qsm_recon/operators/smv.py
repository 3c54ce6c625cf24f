"""Spherical mean values: the average over a ball, and what it leaves of a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import ParameterError
from qsm_recon.operators.grid import Grid
from qsm_recon.operators.padding import padded_shape

SUBDIVISIONS = 5


def ball(grid: Grid, radius_mm: float) -> NDArray[np.float64]:
    """Share of every voxel that lies in a ball around voxel (0, 0, 0), normalised to sum 1.

    Parameters
    ----------
    grid
        Geometry; the ball continues periodically.
    radius_mm
        Radius; shares are found by dividing voxels five times along each axis.

    Returns
    -------
    ndarray
        The grid's shape.

    Raises
    ------
    ParameterError
        If the ball is wider than the grid.
    """
    reach = [int(np.ceil(radius_mm / d + 0.5)) for d in grid.voxel_size_mm]
    if any(2 * r + 1 > n for r, n in zip(reach, grid.shape, strict=True)):
        raise ParameterError(f"ball of radius {radius_mm:g} mm: it does not fit a grid of {grid.shape} voxels")
    steps = (np.arange(SUBDIVISIONS) - (SUBDIVISIONS - 1) / 2) / SUBDIVISIONS
    fine = [
        ((np.arange(-r, r + 1)[:, None] + steps) * d).ravel() for r, d in zip(reach, grid.voxel_size_mm, strict=True)
    ]
    x, y, z = np.ix_(*fine)
    inside = (x * x + y * y + z * z <= radius_mm**2).astype(np.float64)
    blocks = inside.reshape([n for r in reach for n in (2 * r + 1, SUBDIVISIONS)])
    share = blocks.mean(axis=(1, 3, 5))
    result = np.zeros(grid.shape)
    result[np.ix_(*(np.arange(-r, r + 1) for r in reach))] = share / share.sum()
    return result


class SphericalMean:
    """The operator S: average over a ball, with zeros around the image.

    Parameters
    ----------
    grid
        Geometry of the images.
    radius_mm
        Radius of the ball.

    Raises
    ------
    ParameterError
        If the radius is not positive or the ball does not fit the grid.
    """

    def __init__(self, grid: Grid, radius_mm: float) -> None:
        from qsm_recon.backend.fft import fourier_transform

        if not radius_mm > 0:
            raise ParameterError(f"spherical mean: expected a positive radius in mm, found {radius_mm}")
        margin = tuple(int(np.ceil(radius_mm / d)) + 1 for d in grid.voxel_size_mm)
        self.grid = grid
        self.radius_mm = radius_mm
        self._padded = grid.resized(padded_shape(grid.shape, margin))  # type: ignore[arg-type]
        self._transform = fourier_transform(self._padded.shape, "float64")
        self._kernel = spherical_mean_kernel(self._padded, radius_mm)

    def forward(self, image: NDArray) -> NDArray[np.float64]:
        """Average an (nx, ny, nz) image over the ball around every voxel; its own adjoint."""
        transform = self._transform
        buffer = transform.load_image(image)
        spectrum = transform.forward(buffer, transform.empty_spectrum())
        view = transform.spectrum_view(spectrum)
        view *= self._kernel / transform.n_voxels
        nx, ny, nz = self.grid.shape
        return transform.inverse(spectrum, buffer)[:nx, :ny, :nz].copy()

    adjoint = forward

    def eroded(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Voxels whose whole ball (to one part in a thousand) lies in the mask."""
        return (self.forward(mask.astype(np.float64)) > 0.999) & mask


def spherical_mean_kernel(grid: Grid, radius_mm: float) -> NDArray[np.float64]:
    """Transform of the normalised ball on the half-spectrum; real, 1 at zero frequency."""
    from qsm_recon.backend.fft import fourier_transform

    transform = fourier_transform(grid.shape, "float64")
    spectrum = transform.forward(transform.load_image(ball(grid, radius_mm)), transform.empty_spectrum())
    return transform.spectrum_view(spectrum).real.copy()
