"""The initial phase as a smooth map: what it is where a voxel's own echoes do not tell it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qsm_recon.field.voxels import box_around

SPACING = 4
"""Voxels between the nodes of the map along each axis."""
NODES_SMOOTHED = 1.0
"""Standard deviation of the Gaussian over nodes."""
MAD_TO_DEVIATION = 1.4826
LEAST_DEVIATION = 0.01  # rad; nothing a scanner does is known better


@dataclass(frozen=True, eq=False)
class SmoothPhase:
    """A smooth map of a phase.

    Its nodes lie evenly about the middle of the trusted voxels, so that neither the order in which a scan is stored nor
    the air around it moves them.

    Attributes
    ----------
    nodes
        (a, b, c) complex, its angle is the phase there.
    first
        (3,) place of the first node in voxels.
    shape
        (nx, ny, nz) of the image whose voxels it is asked about.
    """

    nodes: NDArray[np.complex128]
    first: NDArray[np.float64]
    shape: tuple[int, int, int]

    @classmethod
    def fit(
        cls,
        phase_rad: NDArray[np.floating],
        power: NDArray[np.floating],
        trusted: NDArray[np.bool_],
        index: NDArray[np.intp],
        shape: tuple[int, int, int],
    ) -> SmoothPhase:
        """Smooth the phase of trusted voxels over about 4 voxels in every direction.

        Parameters
        ----------
        phase_rad
            (n,) phase of each, rad.
        power
            (n,) weight of each.
        trusted
            (n,) voxels that count; one at least.
        index
            (n,) their places in the image laid out as one row.
        shape
            (nx, ny, nz) of the image.
        """
        from scipy import ndimage

        from qsm_recon.backend.kernels.initial_phase import share_out_phase

        region = np.zeros(shape, dtype=bool)
        region.ravel()[index] = trusted
        box = box_around(region)
        low, high = np.array([edge.start for edge in box]), np.array([edge.stop - 1 for edge in box])
        count = -((low - high - 1) // SPACING)
        first = 0.5 * (low + high) - 0.5 * SPACING * (count - 1)
        sums = np.zeros((2, *count))
        # In one piece: sums of threads would be rounded by their number.
        share_out_phase(phase_rad, np.where(trusted, power, 0.0), index, shape, first, float(SPACING), *sums)
        real, imaginary = (ndimage.gaussian_filter(part, NODES_SMOOTHED, mode="constant") for part in sums)
        return cls(real + 1j * imaginary, first, shape)

    @cached_property
    def _unit(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Cosine and sine of the phase of every node; that of the nearest one where it has none."""
        size = np.abs(self.nodes)
        known = size > 1e-9 * size.max()
        unit = np.where(known, self.nodes / np.where(known, size, 1.0), 0.0)
        if not known.all():
            from scipy import ndimage

            nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
            unit = unit[tuple(nearest)]
        return np.ascontiguousarray(unit.real), np.ascontiguousarray(unit.imag)

    def at(self, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """Phase (rad) at voxels given by their places in the image; that of the nearest node where none is near."""
        from qsm_recon.backend.kernels.initial_phase import phase_of_nodes
        from qsm_recon.backend.threads import parallel_slabs

        phase = np.empty(index.size)
        parallel_slabs(phase_of_nodes, index.size, index, self.shape, self.first, float(SPACING), *self._unit, phase)
        return phase


def typical_deviation(strayed_rad: NDArray[np.floating]) -> float:
    """How far a phase typically strays, rad, from the median absolute deviation."""
    return max(MAD_TO_DEVIATION * float(np.median(np.abs(strayed_rad))), LEAST_DEVIATION)
