"""The initial phase as a smooth map: what it is where a voxel's own echoes do not tell it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 4
"""Voxels along each edge of the blocks that are averaged."""
BLOCKS_SMOOTHED = 1.0
"""Standard deviation of the Gaussian over blocks."""
SAMPLES = 20_000
MAD_TO_DEVIATION = 1.4826
LEAST_DEVIATION = 0.01  # rad; nothing a scanner does is known better


@dataclass(frozen=True, eq=False)
class SmoothPhase:
    """A smooth map of a phase, and how far the phase of a voxel strays from it.

    Attributes
    ----------
    blocks
        (bx, by, bz) complex, its angle is the phase at the centres of blocks.
    deviation_rad
        Typical deviation of a trusted voxel, rad (from the median absolute deviation).
    """

    blocks: NDArray[np.complex128]
    deviation_rad: float

    @classmethod
    def fit(
        cls, phase_rad: NDArray[np.floating], power: NDArray[np.floating], voxels: NDArray[np.intp], shape: tuple
    ) -> SmoothPhase:
        """Smooth the phase of trusted voxels over about 4 voxels in every direction.

        Parameters
        ----------
        phase_rad
            (n,) phase of each, rad.
        power
            (n,) weight of each.
        voxels
            (3, n) their places in the image.
        shape
            Of the image.
        """
        from scipy import ndimage

        size = tuple(-(-n // BLOCK) for n in shape)
        place = np.ravel_multi_index(tuple(voxels // BLOCK), size)
        phasor = power * np.exp(1j * phase_rad.astype(np.float64))
        sums = [np.bincount(place, part, int(np.prod(size))).reshape(size) for part in (phasor.real, phasor.imag)]
        real, imaginary = (ndimage.gaussian_filter(part, BLOCKS_SMOOTHED, mode="constant") for part in sums)
        smooth = cls(real + 1j * imaginary, 0.0)
        sample = slice(None, None, max(1, phase_rad.size // SAMPLES))
        strayed = np.angle(np.exp(1j * (phase_rad[sample] - smooth.at(voxels[:, sample]))))
        deviation = MAD_TO_DEVIATION * float(np.median(np.abs(strayed))) if strayed.size else np.pi
        return cls(smooth.blocks, max(deviation, LEAST_DEVIATION))

    def at(self, voxels: NDArray[np.intp]) -> NDArray[np.float64]:
        """Phase (rad) at voxels given by their places (3, n); that of the nearest block where none is near."""
        from scipy import ndimage

        where = (voxels - 0.5 * (BLOCK - 1)) / BLOCK
        size = np.abs(self.blocks)
        known = size > 1e-9 * size.max()
        unit = np.where(known, self.blocks / np.where(known, size, 1.0), 0.0)
        if not known.all():
            nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
            unit = unit[tuple(nearest)]
        parts = [ndimage.map_coordinates(part, where, order=1, mode="nearest") for part in (unit.real, unit.imag)]
        return np.arctan2(parts[1], parts[0])
