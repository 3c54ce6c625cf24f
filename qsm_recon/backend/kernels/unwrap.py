"""Kernels that unwrap an image along the best path.

Images are flat and carry a border of one voxel outside the mask, so that neighbours need no bounds.
Values are in turns: two values a whole number apart are aliases of each other.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import kernel

BUCKETS = 256
UNCERTAINTY_SCALE = 0.1
UNKNOWN_CURVATURE = 0.25


@kernel
def local_uncertainty(
    values: NDArray[np.float64],
    inside: NDArray[np.bool_],
    steps: NDArray[np.intp],
    uncertainty: NDArray[np.float32],
) -> None:
    """Add to ``uncertainty`` (turns, the noise on entry) the curvature of the wrapped image, root of summed squares.

    The curvature is the wrapped second difference, root mean square over the axes with neighbours on both sides.
    """
    for v in range(values.size):
        if not inside[v]:
            continue
        total = 0.0
        count = 0
        for axis in range(steps.size):
            before, after = v - steps[axis], v + steps[axis]
            if inside[before] and inside[after]:
                forward = values[after] - values[v]
                backward = values[v] - values[before]
                second = (forward - np.rint(forward)) - (backward - np.rint(backward))
                total += second * second
                count += 1
        curvature = total / count if count > 0 else UNKNOWN_CURVATURE**2
        uncertainty[v] = math.sqrt(uncertainty[v] ** 2 + curvature)


@kernel
def best_path_turns(
    values: NDArray[np.float64],
    period: NDArray[np.float32],
    inside: NDArray[np.bool_],
    uncertainty: NDArray[np.float32],
    steps: NDArray[np.intp],
    seeds: NDArray[np.intp],
    turns: NDArray[np.float64],
) -> None:
    """Fill ``turns``, the multiples of each voxel's period that make ``values`` continuous, growing from seeds.

    Always crosses the safest edge from the grown region to a new voxel: one with a small wrapped difference
    between two voxels of little uncertainty.  Edges wait in stacks of equal safety, so the order, and with it the
    result, depends on nothing but the data.  ``turns`` of the seeds are given; a region without a seed is left alone.
    """
    capacity = 0
    for v in range(values.size):
        if inside[v]:
            capacity += steps.size
    edge_from = np.empty(capacity, dtype=np.int32)
    edge_to = np.empty(capacity, dtype=np.int32)
    edge_below = np.empty(capacity, dtype=np.int32)
    top = np.full(BUCKETS, -1, dtype=np.int32)
    waits = inside.copy()  # for what is still to be joined
    for seed in seeds:
        waits[seed] = False
    edges = 0
    safest = BUCKETS
    waiting = 0
    while True:
        current = -1
        if waiting < seeds.size:
            current = seeds[waiting]
            waiting += 1
        else:
            while safest < BUCKETS:
                edge = top[safest]
                if edge < 0:
                    safest += 1
                    continue
                top[safest] = edge_below[edge]
                if waits[edge_to[edge]]:
                    current = edge_to[edge]
                    origin = edge_from[edge]
                    gap = values[origin] + turns[origin] - values[current]
                    turns[current] = np.rint(gap / period[current]) * period[current]
                    waits[current] = False
                    break
        if current < 0:
            break
        for side in range(2 * steps.size):
            step = steps[side // 2]
            other = current + step if side % 2 == 0 else current - step
            if not waits[other]:
                continue
            gap = (values[other] - values[current] - turns[current]) / period[other]
            difference = abs(gap - np.rint(gap)) * period[other]
            doubt = math.sqrt(uncertainty[current] ** 2 + uncertainty[other] ** 2)
            safety = (1.0 - 2.0 * difference) / (1.0 + doubt / UNCERTAINTY_SCALE)
            bucket = min(max(int((1.0 - safety) * BUCKETS), 0), BUCKETS - 1)
            edge_from[edges] = current
            edge_to[edges] = other
            edge_below[edges] = top[bucket]
            top[bucket] = edges
            edges += 1
            safest = min(safest, bucket)


@kernel
def mark_wide_steps(
    values: NDArray[np.float64],
    period: NDArray[np.float64],
    inside: NDArray[np.bool_],
    share: float,
    found: NDArray[np.bool_],
) -> None:
    """Mark both voxels of neighbours that differ by more than a share of the smaller period of the two.

    All images are (nx, ny, nz) and carry no border.
    """
    nx, ny, nz = values.shape
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                if not inside[i, j, k]:
                    continue
                for axis in range(3):
                    a, b, c = i + (axis == 0), j + (axis == 1), k + (axis == 2)
                    if a == nx or b == ny or c == nz or not inside[a, b, c]:
                        continue
                    limit = share * min(period[i, j, k], period[a, b, c])
                    if abs(values[a, b, c] - values[i, j, k]) > limit:
                        found[i, j, k] = True
                        found[a, b, c] = True
