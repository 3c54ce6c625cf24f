"""The field around strong sources: aliases that no path settles, settled by what a dipole model can explain."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.field.local_dipole import LocalDipoleFit
from qsm_recon.field.voxels import box_around
from qsm_recon.operators.grid import Grid

logger = logging.getLogger(__name__)

OPEN_STEP = 0.4
"""Step between neighbours, in periods, from which the path between them proves nothing."""
REACH_VOXELS = 6
"""How far from such a step its consequences reach."""
MARGIN_VOXELS = 10
FEWEST_VOXELS = 2
LARGEST_BOX = 400_000
"""Voxels in a box that is still fitted: more would take longer than all else."""
MOST_BOXES = 12
ROUNDS = (5, 3, 3, 3)
"""Reweightings of the model between two looks at the aliases."""
LEAST_DEVIATION = 0.06
"""Of any voxel in the model, in periods: what it cannot explain however good the data."""
DEPHASING_STEP = 0.3
"""Step to a neighbour, in periods, from which parts of a voxel cancel and its phase means little."""
DOUBT = 0.25
"""Error, in periods, from which the alias is not known."""


@dataclass(eq=False)
class FieldInDoubt:
    """A frequency map some of whose voxels are still to be settled; (nx, ny, nz) each, changed in place.

    Attributes
    ----------
    frequency_hz, error_hz
        The map and its standard deviation.
    period_hz
        The ambiguity of each voxel.
    loose
        Voxels whose alias may still change.
    mask
        Where there is a frequency.
    """

    frequency_hz: NDArray[np.float64]
    error_hz: NDArray[np.float64]
    period_hz: NDArray[np.float64]
    loose: NDArray[np.bool_]
    mask: NDArray[np.bool_]

    def open_steps(self) -> NDArray[np.bool_]:
        """Voxels of pairs of neighbours that differ by more than 0.4 periods."""
        from qsm_recon.backend.kernels.unwrap import mark_wide_steps

        found = np.zeros(self.mask.shape, dtype=bool)
        mark_wide_steps(self.frequency_hz, self.period_hz, self.mask, OPEN_STEP, found)
        return found


def settle_by_dipoles(field: FieldInDoubt, steps: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """Settle loose voxels near open steps by a robust dipole fit to what is around them.

    Every voxel takes the alias nearest to the fit; where even that is far from it, or the field is too steep for the
    voxel's phase to mean anything, the fit itself.  Both count in the error.

    Parameters
    ----------
    field
        The map, changed in place.
    steps
        (nx, ny, nz) voxels at open steps.
    grid
        Geometry.

    Returns
    -------
    ndarray
        (nx, ny, nz) whether a voxel is near one of the steps that were dealt with.  A single voxel is not worth a fit,
        and clusters too large, or too many, would take longer than all else.
    """
    from scipy import ndimage

    near = box_around(steps, REACH_VOXELS + MARGIN_VOXELS)
    clusters, _ = ndimage.label(ndimage.binary_dilation(steps[near], iterations=REACH_VOXELS))
    sizes = np.bincount(clusters[steps[near]])
    boxes = ndimage.find_objects(clusters)
    within = np.zeros(steps.shape, dtype=bool)
    fitted = 0
    for cluster in (int(i) for i in np.argsort(-sizes, kind="stable") if i and sizes[i] >= FEWEST_VOXELS):
        inner = tuple(
            slice(max(0, edge.start - MARGIN_VOXELS), min(n, edge.stop + MARGIN_VOXELS))
            for edge, n in zip(boxes[cluster - 1], clusters.shape, strict=True)
        )
        box = tuple(slice(b.start + a.start, b.stop + a.start) for a, b in zip(near, inner, strict=True))
        if np.prod([edge.stop - edge.start for edge in box]) > LARGEST_BOX or fitted == MOST_BOXES:
            continue
        own = clusters[inner] == cluster
        _settle_box(field, box, steps[box] & own, own, grid)
        within[box] |= own
        fitted += 1
    return within


def _settle_box(
    field: FieldInDoubt, box: tuple[slice, ...], steps: NDArray[np.bool_], own: NDArray[np.bool_], grid: Grid
) -> None:
    """Settle the loose voxels of one box."""
    frequency, period, mask = field.frequency_hz[box], field.period_hz[box], field.mask[box]
    free = own & mask & (field.loose[box] | steps)
    scale = float(np.median(period[free]))
    nx, ny, nz = mask.shape
    model = LocalDipoleFit(grid.resized((nx, ny, nz)), scale)
    measured = np.hypot(field.error_hz[box], LEAST_DEVIATION * scale)
    deviation = np.where(mask & ~steps, measured, np.inf)
    predicted, dephased = frequency.copy(), np.zeros(mask.shape)
    for outer in ROUNDS:
        predicted = model.refine(frequency, deviation, outer)
        turns = np.where(free, np.rint((predicted - frequency) / period), 0.0)
        frequency += turns * period
        dephased = np.where(free, _dephasing(predicted, period), 0.0)
        deviation = np.where(mask, np.hypot(measured, dephased), np.inf)
    error = np.sqrt(field.error_hz[box] ** 2 + dephased**2 + np.where(free, predicted - frequency, 0.0) ** 2)
    doubtful = free & (error > DOUBT * period)
    frequency[doubtful] = predicted[doubtful]
    field.error_hz[box] = np.where(free, error, field.error_hz[box])
    field.loose[box] |= free


def _dephasing(field_hz: NDArray[np.float64], period_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Error of a phase whose voxel the field changes within: a period for every period's step beyond 0.3."""
    largest = np.zeros(field_hz.shape)
    for axis in range(3):
        front, back = [slice(None)] * 3, [slice(None)] * 3
        front[axis], back[axis] = slice(None, -1), slice(1, None)
        a, b = tuple(front), tuple(back)
        step = np.abs(field_hz[b] - field_hz[a])
        np.maximum(largest[a], step, out=largest[a])
        np.maximum(largest[b], step, out=largest[b])
    return period_hz * np.clip(largest / period_hz - DEPHASING_STEP, 0.0, 2.0)
