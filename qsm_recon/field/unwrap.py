"""Which alias of a frequency map is the right one: spatial unwrapping by whole periods."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from qsm_recon.field.voxels import box_around

logger = logging.getLogger(__name__)

RELIABLE_NOISE_RAD = 0.6
"""Voxels whose wrapped phase is noisier than this follow their neighbours instead of leading them."""
SMALLEST_REGION = 0.01
"""Regions of reliable voxels smaller than this fraction of the largest one follow too."""
NEARLY_WHOLE = 0.25
"""How near to a whole number of turns a step is a wrap, whatever the field."""
NEIGHBOURHOOD_VOXELS = 1.5
"""Width (standard deviation) of the neighbourhood that noisy voxels follow."""


@dataclass(frozen=True, eq=False)
class Unwrapping:
    """Whole periods to add per voxel (int16), and what was found on the way."""

    turns: NDArray[np.int16]
    regions: int
    aliased: bool
    open_jumps: int
    open_fringes: int = 0


def unwrap_in_space(
    frequency_hz: NDArray[np.floating],
    mask: NDArray[np.bool_],
    period_hz: float,
    noise_hz: NDArray[np.floating] | None = None,
    alternating: NDArray[np.floating] | None = None,
) -> Unwrapping:
    """Find the whole periods that make a frequency map continuous inside a mask.

    Parameters
    ----------
    frequency_hz
        (nx, ny, nz), Hz, known up to multiples of ``period_hz``.
    mask
        (nx, ny, nz) voxels to unwrap.
    period_hz
        The ambiguity in Hz, the inverse of the echo spacing.
    noise_hz
        (nx, ny, nz) standard deviation of the frequency in Hz.  Only voxels where it stays below 0.6 rad of the
        wrapped phase are unwrapped along the best path; the others take the period that brings them nearest to
        the precision-weighted mean of their neighbourhood.  Without it all voxels lead.
    alternating
        (nx, ny, nz) quantity that changes sign with every period added and is known to be positive on average,
        such as the cosine of the phase between odd and even echoes.

    Returns
    -------
    Unwrapping
        ``frequency_hz + turns * period_hz`` is continuous.  ``open_jumps`` counts the neighbouring reliable pairs
        that still differ by more than half a period (phase singularities, sources too strong for the voxels);
        ``open_fringes`` those of them whose wrapped difference is small: a fringe line that ends inside the mask.

    Notes
    -----
    Voxels are joined along the best path: a region grows from its most certain voxel, always across the edge with
    the smallest wrapped difference between the least noisy and least curved voxels, in the manner of the
    reliability-guided methods of Abdul-Rahman et al.  It needs the true field to change by less than half a period
    between neighbours on most of the paths round a source.

    Each connected region is known up to a whole number of periods; the one that puts its median nearest to zero
    (among those that make ``alternating`` positive) is chosen.  If no two neighbours differ by more than half a
    period nothing is moved but that median.

    References
    ----------
    Abdul-Rahman HS, et al. Fast and robust three-dimensional best path phase unwrapping algorithm. Appl Opt
    2007;46:6623.
    """
    turns = np.zeros(mask.shape, dtype=np.int16)
    if not mask.any():
        return Unwrapping(turns, 0, False, 0)
    box = box_around(mask)
    inside = mask[box]
    scaled = np.where(inside, frequency_hz[box] / period_hz, 0.0)  # in turns
    spread = np.zeros_like(scaled) if noise_hz is None else noise_hz[box] / period_hz
    reliable = inside & (spread * 2.0 * math.pi < RELIABLE_NOISE_RAD)
    if not reliable.any():
        reliable = inside
    aliased = _jumps(scaled, reliable)[0] > 0
    leaders, regions = _regions(reliable)
    moved = np.zeros(inside.shape)
    if aliased:
        moved = _best_path_turns(scaled, spread, leaders, regions)
    for region in regions:
        sign = None if alternating is None else alternating[box][region]
        offset = _offset(scaled[region], moved[region], sign)
        if offset:
            moved[region] += offset
    followers = inside & ~leaders
    if followers.any():
        reference = _neighbourhood_mean(scaled + moved, leaders, spread)
        moved[followers] = np.rint((reference - scaled)[followers])
    turns[box] = moved
    open_jumps, open_fringes = _jumps(scaled + moved, reliable)
    if aliased:
        logger.info(
            "frequency aliased (period %.4g Hz): %d voxels moved, %d neighbouring pairs still half a period apart",
            period_hz,
            int(np.count_nonzero(moved)),
            open_jumps,
        )
    return Unwrapping(turns, len(regions), aliased, open_jumps, open_fringes)


def _offset(turns: NDArray[np.floating], moved: NDArray[np.floating], sign: NDArray[np.floating] | None) -> float:
    """Return the whole turns to add to a region, given its turns, those added so far, and an alternating quantity."""
    median = float(np.median(turns + moved))
    offset = -round(median)
    if sign is not None and float(np.mean(np.where((moved + offset) % 2 == 1, -sign, sign))) < 0:
        offset += -1 if median + offset > 0 else 1
    return offset


def _jumps(turns: NDArray[np.floating], mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Count neighbouring pairs inside the mask that differ by more than half a turn, and those by nearly whole ones."""
    count, whole = 0, 0
    for axis in range(turns.ndim):
        both = np.logical_and(*_neighbours(mask, axis))
        first, second = _neighbours(turns, axis)
        steps = (second - first)[both]
        steps = steps[np.abs(steps) > 0.5]
        count += steps.size
        whole += int(np.count_nonzero(np.abs(steps - np.rint(steps)) < NEARLY_WHOLE))
    return count, whole


def _neighbours(array: NDArray, axis: int) -> tuple[NDArray, NDArray]:
    front, back = [slice(None)] * array.ndim, [slice(None)] * array.ndim
    front[axis], back[axis] = slice(None, -1), slice(1, None)
    return array[tuple(front)], array[tuple(back)]


def _regions(reliable: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], list[NDArray[np.bool_]]]:
    """Return the voxels of the large face-connected regions, and each region, largest first."""
    from scipy import ndimage

    labels, _ = ndimage.label(reliable)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    large = [int(i) for i in np.argsort(-sizes, kind="stable") if sizes[i] > SMALLEST_REGION * sizes.max()]
    regions = [labels == i for i in large]
    return np.logical_or.reduce(regions), regions


def _best_path_turns(
    turns: NDArray[np.floating],
    spread: NDArray[np.floating],
    leaders: NDArray[np.bool_],
    regions: list[NDArray[np.bool_]],
) -> NDArray[np.float64]:
    """Return the whole turns that make each region continuous, 0 elsewhere."""
    path = _Paths(turns, spread, leaders)
    places = (np.flatnonzero(bordered(region)) for region in regions)
    seeds = [voxels[np.argmin(path.uncertainty[voxels])] for voxels in places]
    return path.grow(None, np.array(seeds, dtype=np.intp))


def rejoin(
    turns: NDArray[np.floating],
    mask: NDArray[np.bool_],
    loose: NDArray[np.bool_],
    period: NDArray[np.floating],
    spread: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Attach loose voxels to the settled ones around them along the best path.

    Parameters
    ----------
    turns
        (nx, ny, nz) frequency in turns, continuous among the settled voxels.
    mask
        Where it is known.
    loose
        The voxels to attach.
    period
        Ambiguity of each voxel, in turns.
    spread
        Standard deviation of each voxel, in turns.

    Returns
    -------
    ndarray
        (nx, ny, nz) multiples of the period to add; 0 for settled voxels and for loose ones without a path to any.
    """
    near = box_around(loose, 2)
    inside, free = mask[near], loose[near]
    path = _Paths(turns[near], spread[near], inside)
    path_inside, settled = path.inside, bordered(inside & ~free).ravel()
    touching = np.zeros_like(settled)
    loose_there = np.flatnonzero(bordered(free))
    for step in path.steps:
        for shift in (-step, step):
            touching[loose_there + shift] = True
    moved = np.zeros(mask.shape)
    touching &= settled
    seeds = np.flatnonzero(touching).astype(np.intp)
    path.inside = touching  # which the settled voxels behind the first cannot be reached from, nor need they be
    path.inside[loose_there] = path_inside[loose_there]
    moved[near] = path.grow(np.pad(period[near], 1, constant_values=1).astype(np.float32).ravel(), seeds)
    return moved


def bordered(image: NDArray, dtype: DTypeLike | None = None) -> NDArray:
    """An image with a border of one voxel of zeros."""
    found = np.zeros([n + 2 for n in image.shape], image.dtype if dtype is None else dtype)
    found[1:-1, 1:-1, 1:-1] = image
    return found


class _Paths:
    """An image in turns with a border of one voxel, flat, as the kernels want it."""

    def __init__(self, turns: NDArray[np.floating], spread: NDArray[np.floating], inside: NDArray[np.bool_]) -> None:
        from qsm_recon.backend.kernels.unwrap import local_uncertainty

        region = bordered(inside)
        self.shape = region.shape
        self.steps = np.array([stride // region.itemsize for stride in region.strides], dtype=np.intp)
        self.inside = region.ravel()
        self.values = bordered(turns, np.float64).ravel()
        self.uncertainty = bordered(spread, np.float32).ravel()
        local_uncertainty(self.values, self.inside, self.steps, self.uncertainty)

    def grow(self, period: NDArray[np.float32] | None, seeds: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return what to add, from seeds where nothing is added; without a period of each voxel it is one turn."""
        from qsm_recon.backend.kernels.unwrap import best_path_turns, best_path_whole_turns

        size, axes = self.values.size, self.steps.size
        moved, held = np.zeros(size), np.empty(size, np.int16)
        edges = np.empty((axes * int(np.count_nonzero(self.inside)), 3), np.int32)
        way = self.inside, self.uncertainty, self.steps, seeds
        if period is None:
            best_path_whole_turns(self.values, *way, np.empty((size, axes), np.uint8), held, edges, moved)
        else:
            best_path_turns(self.values, period, *way, held, edges, moved)
        return moved.reshape(self.shape)[1:-1, 1:-1, 1:-1]


def _neighbourhood_mean(
    turns: NDArray[np.floating], leaders: NDArray[np.bool_], spread: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Return the precision-weighted local mean of the leaders, or the nearest leader where none is close."""
    from scipy import ndimage

    quality = np.where(leaders, 1.0 / (0.01 + spread**2), 0.0)
    total = ndimage.gaussian_filter(quality, NEIGHBOURHOOD_VOXELS, mode="constant", truncate=3.0)
    mean = ndimage.gaussian_filter(quality * turns, NEIGHBOURHOOD_VOXELS, mode="constant", truncate=3.0)
    near = total > 1e-9 * quality.max()
    _, nearest = ndimage.distance_transform_edt(~leaders, return_distances=True, return_indices=True)
    return np.where(near, mean / np.where(near, total, 1.0), turns[tuple(nearest)])
