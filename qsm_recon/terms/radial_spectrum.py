"""The spectrum of a susceptibility over |k| in 1/mm: objects do not know how voxels are cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.operators.dipole import dipole_kernel
from qsm_recon.operators.grid import Grid
from qsm_recon.terms.field_spectrum import FEWEST_SAMPLES, KERNEL_EDGES, TRUSTED_BAND, SpectralBins

RADIUS_EDGES = (0.0, 0.05, 0.08, 0.12, 0.18, 0.26, 0.36, 0.48, 0.62, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0, 5.0, 10.0)
"""|k| in 1/mm, over Nyquist's for a cube of the voxel's volume."""
SLAB = 8
"""Planes that are summed at once."""


@dataclass(frozen=True)
class Profile:
    """A power over |k|.

    Parameters
    ----------
    radii
        |k| over Nyquist's for a cube of the voxel's volume.
    power
        There, in ppm².
    """

    radii: tuple[float, ...]
    power: tuple[float, ...]

    def at(self, radius: NDArray[np.floating]) -> NDArray[np.float32]:
        """Power at other |k|; the root is drawn through the known ones, as it is less steep."""
        return np.square(np.interp(radius, self.radii, np.sqrt(self.power))).astype(np.float32)


class RadialSpectrum:
    """Shells of |k| in 1/mm, of the frequencies at which susceptibility is seen well.

    Parameters
    ----------
    bins
        Shells and bands of the same grid.

    Attributes
    ----------
    squared_kernel
        D² on the half-spectrum.
    any
        Whether there is such a frequency.
    """

    def __init__(self, bins: SpectralBins) -> None:
        kernel = dipole_kernel(bins.grid)
        self.squared_kernel = np.square(kernel)
        self._radius = radius_of(bins.grid)
        seen = np.abs(kernel) >= KERNEL_EDGES[TRUSTED_BAND]
        self._shell = np.full(self._radius.shape, len(RADIUS_EDGES), np.int8)
        self._slabs = [slice(a, a + SLAB) for a in range(0, self._radius.shape[0], SLAB)]
        for slab in self._slabs:
            shell = np.digitize(self._radius[slab], RADIUS_EDGES) - 1
            np.copyto(self._shell[slab], shell, where=seen[slab], casting="unsafe")
        self._twice = bins.twice
        self._counts = self._sum(np.broadcast_to(np.float32(1), self._radius.shape))
        enough = self._counts >= FEWEST_SAMPLES
        self._enough = enough if enough.any() else self._counts > 0  # of a tiny image
        self.any = bool(self._enough.any())
        self._mean_squared_kernel = self.mean(self.squared_kernel)

    def mean(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Mean of each shell; NaN where a shell has too few samples."""
        return np.where(self._enough, self._sum(values) / np.maximum(self._counts, 1), np.nan)

    def susceptibility(self, seen: NDArray[np.float64], errors: float) -> Profile:
        """Power of the susceptibility over |k|, in ppm².

        Parameters
        ----------
        seen
            (shells,) :meth:`mean` of the power of a field, in ppm².
        errors
            That of its errors, in ppm².
        """
        middles = np.sqrt(np.multiply(np.maximum(RADIUS_EDGES[:-1], 0.02), RADIUS_EDGES[1:]))
        known = self._enough[: middles.size]
        power = (np.maximum(seen - errors, 0) / self._mean_squared_kernel)[: middles.size][known]
        return Profile(tuple(middles[known].tolist()), tuple(power.tolist()))

    def spread(self, profile: Profile) -> NDArray[np.float32]:
        """Values of a profile at all frequencies."""
        return profile.at(self._radius)

    def _sum(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        sums = np.zeros(len(RADIUS_EDGES) + 1)
        for slab in self._slabs:
            weights = values[slab] * self._twice
            sums += np.bincount(self._shell[slab].ravel(), weights.ravel(), len(sums))
        return sums[:-1]


def radius_of(grid: Grid) -> NDArray[np.float32]:
    """|k| on the half-spectrum over Nyquist's for a cube of the voxel's volume."""
    edge = float(np.prod(grid.voxel_size_mm)) ** (1 / 3)
    nx, ny, nz = grid.shape
    axes = (np.fft.fftfreq(nx), np.fft.fftfreq(ny), np.fft.rfftfreq(nz))
    squares = (np.square(2 * axis * edge / size) for axis, size in zip(axes, grid.voxel_size_mm, strict=True))
    return np.sqrt(sum(np.ix_(*squares))).astype(np.float32)
