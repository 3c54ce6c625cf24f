"""Plain numpy and Python for :mod:`qsm_recon.backend.kernels.unwrap`.

The best path goes from voxel to voxel: that loop stays one, on lists, which Python walks faster than arrays.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.kernels.unwrap import BUCKETS, UNCERTAINTY_SCALE, UNKNOWN_CURVATURE


def local_uncertainty(
    values: NDArray[np.float64],
    inside: NDArray[np.bool_],
    steps: NDArray[np.intp],
    uncertainty: NDArray[np.float32],
) -> None:
    """See the kernel."""
    here = np.flatnonzero(inside)
    total, count = np.zeros(here.size), np.zeros(here.size)
    for step in steps:
        both = inside[here - step] & inside[here + step]
        forward, backward = values[here + step] - values[here], values[here] - values[here - step]
        second = (forward - np.rint(forward)) - (backward - np.rint(backward))
        total += np.where(both, second * second, 0.0)
        count += both
    curvature = np.where(count > 0, total / count, UNKNOWN_CURVATURE**2)
    uncertainty[here] = np.sqrt(uncertainty[here].astype(np.float64) ** 2 + curvature)


def best_path_turns(
    values: NDArray[np.float64],
    period: NDArray[np.float32],
    inside: NDArray[np.bool_],
    uncertainty: NDArray[np.float32],
    steps: NDArray[np.intp],
    seeds: NDArray[np.intp],
    held: NDArray[np.int16],
    edges: NDArray[np.int32],
    turns: NDArray[np.float64],
) -> None:
    """See the kernel; this one needs no scratch."""
    value, length, found = values.tolist(), period.astype(np.float64).tolist(), turns.tolist()
    doubt_squared = (uncertainty.astype(np.float64) ** 2).tolist()
    open_to = inside.tolist()  # inside and not reached yet
    sides = [side for step in steps.tolist() for side in (step, -step)]
    stacks: list[list[tuple[int, int]]] = [[] for _ in range(BUCKETS)]
    for seed in seeds.tolist():
        open_to[seed] = False
    safest = BUCKETS

    def look_around(current: int) -> int:
        """Put the edges to what is not reached yet on their stacks; returns the lowest stack."""
        lowest, level, doubt = BUCKETS, value[current] + found[current], doubt_squared[current]
        for side in sides:
            other = current + side
            if open_to[other]:
                gap = (value[other] - level) / length[other]
                difference = abs(gap - round(gap)) * length[other]
                safety = (1.0 - 2.0 * difference) / (1.0 + math.sqrt(doubt + doubt_squared[other]) / UNCERTAINTY_SCALE)
                bucket = min(max(int((1.0 - safety) * BUCKETS), 0), BUCKETS - 1)
                stacks[bucket].append((current, other))
                lowest = min(lowest, bucket)
        return lowest

    for seed in seeds.tolist():
        safest = min(safest, look_around(seed))
    while safest < BUCKETS:
        if not stacks[safest]:
            safest += 1
            continue
        origin, current = stacks[safest].pop()
        if open_to[current]:
            gap = value[origin] + found[origin] - value[current]
            found[current] = round(gap / length[current]) * length[current]
            open_to[current] = False
            safest = min(safest, look_around(current))
    turns[:] = found


def best_path_whole_turns(
    values: NDArray[np.float64],
    inside: NDArray[np.bool_],
    uncertainty: NDArray[np.float32],
    steps: NDArray[np.intp],
    seeds: NDArray[np.intp],
    stacks: NDArray[np.uint8],
    held: NDArray[np.int16],
    edges: NDArray[np.int32],
    turns: NDArray[np.float64],
) -> None:
    """See the kernel."""
    best_path_turns(values, np.ones(values.size, np.float32), inside, uncertainty, steps, seeds, held, edges, turns)


def mark_wide_steps(
    values: NDArray[np.float64],
    period: NDArray[np.float64],
    inside: NDArray[np.bool_],
    share: float,
    found: NDArray[np.bool_],
) -> None:
    """See the kernel."""
    for axis in range(3):
        here, ahead = [slice(None)] * 3, [slice(None)] * 3
        here[axis], ahead[axis] = slice(None, -1), slice(1, None)
        one, other = tuple(here), tuple(ahead)
        limit = share * np.minimum(period[one], period[other])
        wide = inside[one] & inside[other] & (np.abs(values[other] - values[one]) > limit)
        found[one] |= wide
        found[other] |= wide
