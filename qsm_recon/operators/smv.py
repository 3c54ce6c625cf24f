"""Spherical mean values: the average over a ball, what it leaves of a mask, and what of an image it does not hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray

from qsm_recon.errors import ParameterError
from qsm_recon.operators.convolution import PaddedTransform
from qsm_recon.operators.grid import Grid
from qsm_recon.operators.padding import padded_shape

SUBDIVISIONS = 5
WIDER = 1.05
"""A ball so much wider than the mask's box sticks out by more than rounding; it needs no transform to tell."""
STICKS_OUT = 1e-5
"""Share of a ball that counts as none: rounding.  What sticks out leaves that share of the whole background behind."""


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
        from qsm_recon.backend.transforms import fourier_transform

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
    from qsm_recon.backend.transforms import fourier_transform

    transform = fourier_transform(grid.shape, "float64")
    spectrum = transform.forward(transform.load_image(ball(grid, radius_mm)), transform.empty_spectrum())
    return transform.spectrum_view(spectrum).real.copy()


def harmonic_ball(grid: Grid, radius_mm: float) -> NDArray[np.float64]:
    """The ball of :func:`ball` with the same second moment along every axis: harmonic quadratics are their own mean.

    Voxels hold the share of the ball that lies in them, but count at their centres; for unequal voxel edges that makes
    the moments differ by twelfths of the squared edges, and a steep background leaves a trace.  A second difference at
    the centre makes up for it.

    Raises
    ------
    ParameterError
        If the ball is wider than the grid, or so small that no voxel but its own is in it along some axis.
    """
    weights = ball(grid, radius_mm)
    for axis, (n, size) in enumerate(zip(grid.shape, grid.voxel_size_mm, strict=True)):
        profile = weights.sum(axis=tuple(other for other in range(3) if other != axis))
        moment = float(profile @ np.square(np.fft.fftfreq(n) * n * size))
        if not moment > 0:
            raise ParameterError(
                f"ball of radius {radius_mm:g} mm: it does not reach beyond a voxel of {size:g} mm; choose a larger one"
            )
        missing = (radius_mm**2 / 5 - moment) / (2 * size**2)
        centre: list[int] = [0, 0, 0]
        weights[tuple(centre)] -= 2 * missing
        for step in (1, -1):
            centre[axis] = step
            weights[tuple(centre)] += missing
    return weights


class SphericalDifference:
    """The operator A: an image less its mean over a ball, in every voxel over the largest ball that fits in a mask.

    A x = Σ_i M_i (x - S_i x), with S_i the mean over ball i and M_i the voxels whose largest ball it is.

    Parameters
    ----------
    grid
        Geometry of the images.
    mask
        (nx, ny, nz) the balls must lie in it.
    radii_mm
        Radii, in any order.
    dtype
        float32 or float64.

    Raises
    ------
    ParameterError
        If a radius is not positive or too small for the voxels, or no ball fits in the mask.
    """

    def __init__(
        self, grid: Grid, mask: NDArray[np.bool_], radii_mm: Sequence[float], dtype: DTypeLike = np.float32
    ) -> None:
        radii = sorted(set(radii_mm), reverse=True)
        if not radii or not all(np.isfinite(r) and r > 0 for r in radii):
            raise ParameterError(f"spherical mean: expected positive radii in mm, found {list(radii_mm)}")
        widest = 0.5 * WIDER * smallest_extent_mm(mask, grid)
        radii = [radius for radius in radii if radius <= widest] or [radii[-1]]
        if radii[0] > widest:
            raise _none_fits(radii[0])
        reach = [int(np.ceil(radii[0] / size + 0.5)) for size in grid.voxel_size_mm]
        margin = tuple(max(r, 2 * r + 1 - n) for r, n in zip(reach, grid.shape, strict=True))
        self._transform = PaddedTransform(grid.shape, margin, dtype)  # type: ignore[arg-type]
        padded = grid.resized(self._transform.padded_shape)
        inside = self._transform.forward(mask)
        self.valid = np.zeros(grid.shape, bool)
        self.radii_mm: list[float] = []
        self.regions: list[NDArray[np.bool_]] = []
        self.kernels: list[NDArray] = []
        for radius in radii:
            kernel = self._transform.kernel_of(harmonic_ball(padded, radius))
            fits = (self._transform.inverse(inside * kernel) > 1 - STICKS_OUT) & mask
            if (fits & ~self.valid).any():
                self.radii_mm.append(radius)
                self.regions.append(fits & ~self.valid)
                self.kernels.append(kernel)
                self.valid |= fits
        if not self.regions:
            raise _none_fits(radii[-1])

    def forward(self, image: NDArray) -> NDArray[np.floating]:
        """A x; zero where no ball fits."""
        spectrum = self._transform.forward(image)
        result = np.zeros(image.shape, self._transform.dtype)
        for region, kernel in zip(self.regions, self.kernels, strict=True):
            mean = self._transform.inverse(spectrum * kernel)
            np.subtract(image, mean, out=result, where=region)
        return result

    def adjoint(self, image: NDArray) -> NDArray[np.floating]:
        """Aᵀ y."""
        total: NDArray | None = None
        for region, kernel in zip(self.regions, self.kernels, strict=True):
            part = self._transform.forward(np.where(region, image, 0))
            part *= kernel
            total = part if total is None else total + part
        return np.where(self.valid, image, 0) - self._transform.inverse(total)  # type: ignore[arg-type]

    def filtered(self, image: NDArray, k_space_filter: NDArray) -> NDArray[np.floating]:
        """Multiply the transform of an image by a filter on the padded grid's half-spectrum."""
        return self._transform.inverse(self._transform.forward(image) * k_space_filter)


def smallest_extent_mm(mask: NDArray[np.bool_], grid: Grid) -> float:
    """Length of the shortest edge of the box around a mask, in mm; 0 where it is empty."""
    lines = (mask.any(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3))
    filled = [np.flatnonzero(line) for line in lines]
    return min(
        float((places[-1] - places[0] + 1) * size) if places.size else 0.0
        for places, size in zip(filled, grid.voxel_size_mm, strict=True)
    )


def _none_fits(radius_mm: float) -> ParameterError:
    return ParameterError(
        f"spherical mean: no ball of {radius_mm:g} mm fits in the mask; choose a smaller radius, or a method that does "
        "not erode"
    )
