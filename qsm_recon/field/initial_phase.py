"""The initial phase as a smooth map: what it is where a voxel's own echoes do not tell it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

SPACING = 4
"""Voxels between the nodes of the map along each axis."""
NODES_SMOOTHED = 1.0
"""Standard deviation of the Gaussian over nodes."""
MAD_TO_DEVIATION = 1.4826
AT_ONCE = 1 << 18
LEAST_DEVIATION = 0.01  # rad; nothing a scanner does is known better


@dataclass(frozen=True, eq=False)
class SmoothPhase:
    """A smooth map of a phase, and how far the phase of a voxel strays from it.

    Its nodes lie evenly about the middle of the trusted voxels, so that neither the order in which a scan is stored nor
    the air around it moves them.

    Attributes
    ----------
    nodes
        (a, b, c) complex, its angle is the phase there.
    first
        (3,) place of the first node in voxels.
    deviation_rad
        Typical deviation of a trusted voxel, rad (from the median absolute deviation).
    """

    nodes: NDArray[np.complex128]
    first: NDArray[np.float64]
    deviation_rad: float

    @classmethod
    def fit(cls, phase_rad: NDArray[np.floating], power: NDArray[np.floating], voxels: NDArray[np.intp]) -> SmoothPhase:
        """Smooth the phase of trusted voxels over about 4 voxels in every direction.

        Parameters
        ----------
        phase_rad
            (n,) phase of each, rad.
        power
            (n,) weight of each.
        voxels
            (3, n) their places in the image.
        """
        from scipy import ndimage

        low, high = voxels.min(axis=1), voxels.max(axis=1)
        count = -((low - high - 1) // SPACING)
        first = 0.5 * (low + high) - 0.5 * SPACING * (count - 1)
        sums = np.zeros((2, *count))
        for some in _in_parts(phase_rad.size):
            phasor = power[some] * np.exp(1j * phase_rad[some].astype(np.float64))
            _share_out(phasor, (voxels[:, some] - first[:, None]) / SPACING, sums)
        real, imaginary = (ndimage.gaussian_filter(part, NODES_SMOOTHED, mode="constant") for part in sums)
        smooth = cls(real + 1j * imaginary, first, 0.0)
        strayed = np.empty(phase_rad.size, np.float32)
        for some in _in_parts(phase_rad.size):
            strayed[some] = np.abs(np.angle(np.exp(1j * (phase_rad[some] - smooth.at(voxels[:, some])))))
        deviation = MAD_TO_DEVIATION * float(np.median(strayed))
        return cls(smooth.nodes, first, max(deviation, LEAST_DEVIATION))

    def at(self, voxels: NDArray[np.intp]) -> NDArray[np.float64]:
        """Phase (rad) at voxels given by their places (3, n); that of the nearest node where none is near."""
        from scipy import ndimage

        where = (voxels - self.first[:, None]) / SPACING
        size = np.abs(self.nodes)
        known = size > 1e-9 * size.max()
        unit = np.where(known, self.nodes / np.where(known, size, 1.0), 0.0)
        if not known.all():
            nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
            unit = unit[tuple(nearest)]
        parts = [ndimage.map_coordinates(part, where, order=1, mode="nearest") for part in (unit.real, unit.imag)]
        return np.arctan2(parts[1], parts[0])


def _in_parts(count: int) -> Iterator[slice]:
    """Slices that cover ``count`` voxels, few enough at a time to take little memory."""
    return (slice(start, start + AT_ONCE) for start in range(0, count, AT_ONCE))


def _share_out(values: NDArray[np.complex128], where: NDArray[np.float64], sums: NDArray[np.float64]) -> None:
    """Share values out linearly among the nodes around them: real and imaginary part are added to ``sums``.

    ``where`` is their places (3, n) in nodes; beyond the outer ones all goes to these.
    """
    count = sums.shape[1:]
    last = np.reshape(count, (3, 1)) - 1
    where = np.clip(where, 0, last)
    below = np.minimum(where.astype(np.intp), np.maximum(last - 1, 0))
    above = where - below
    for corner in product((0, 1), repeat=3):
        share = np.prod([above[axis] if up else 1 - above[axis] for axis, up in enumerate(corner)], axis=0)
        node = np.ravel_multi_index(tuple(below + np.reshape(corner, (3, 1))), count, mode="clip")
        for index, part in enumerate((values.real, values.imag)):
            sums[index] += np.bincount(node, share * part, sums[index].size).reshape(count)
