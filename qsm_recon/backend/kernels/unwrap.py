"""Kernels that unwrap an image along the best path.

Images are flat and carry a border of one voxel outside the mask, so that neighbours need no bounds.
Values are in turns: two values a whole number apart are aliases of each other.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import inline, kernel

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


@inline
def stack_of(difference: float, first: float, second: float) -> int:
    """Stack an edge waits in, 0 the safest, by its wrapped difference and the uncertainty of its ends, in turns."""
    safety = (1.0 - 2.0 * difference) / (1.0 + math.sqrt(first**2 + second**2) / UNCERTAINTY_SCALE)
    return min(max(int((1.0 - safety) * BUCKETS), 0), BUCKETS - 1)


@inline
def safest_edge(
    top: NDArray[np.int32], edges: NDArray[np.int32], held: NDArray[np.int16], safest: int
) -> tuple[int, int]:
    """Take the safest edge to a voxel that is not joined yet off its stack.

    Returns the edge, -1 where none waits, and the first stack in which another may.
    """
    while safest < BUCKETS:
        edge = top[safest]
        if edge < 0:
            safest += 1
            continue
        top[safest] = edges[edge, 2]
        if held[edges[edge, 1]] >= 0:
            return edge, safest
    return -1, safest


@kernel
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
    """Fill ``turns``, the multiples of each voxel's period that make ``values`` continuous, growing from seeds.

    Always crosses the safest edge from the grown region to a new voxel: one with a small wrapped difference
    between two voxels of little uncertainty.  Edges wait in stacks of equal safety, so the order, and with it the
    result, depends on nothing but the data.  ``turns`` of the seeds are given; a region without a seed is left alone.

    Scratch are ``held``, one number per voxel, and ``edges`` (axes times voxels inside, 3), of which the beginning is
    used: numpy gets large arrays from the system in larger pages than a kernel does.
    """
    # The safest stack in which an edge to a voxel waits; below all of them once that is joined, and outside.
    for v in range(values.size):
        held[v] = BUCKETS if inside[v] else -1
    top = np.full(BUCKETS, -1, dtype=np.int32)
    for seed in seeds:
        held[seed] = -1
    count = 0
    safest = BUCKETS
    waiting = 0
    while True:
        current = -1
        if waiting < seeds.size:
            current = seeds[waiting]
            waiting += 1
        else:
            edge, safest = safest_edge(top, edges, held, safest)
            if edge >= 0:
                origin, current = edges[edge, 0], edges[edge, 1]
                gap = values[origin] + turns[origin] - values[current]
                turns[current] = np.rint(gap / period[current]) * period[current]
                held[current] = -1
        if current < 0:
            break
        level = values[current] + turns[current]
        for side in range(2 * steps.size):
            step = steps[side // 2]
            other = current + step if side % 2 == 0 else current - step
            if held[other] < 0:
                continue
            gap = (values[other] - level) / period[other]
            difference = abs(gap - np.rint(gap)) * period[other]
            bucket = stack_of(difference, uncertainty[current], uncertainty[other])
            if bucket > held[other]:  # it would come when the voxel has long been joined
                continue
            held[other] = bucket
            edges[count, 0], edges[count, 1] = current, other
            edges[count, 2] = top[bucket]  # the one below
            top[bucket] = count
            count += 1
            safest = min(safest, bucket)


@kernel
def _stacks_of_edges(
    values: NDArray[np.float64],
    inside: NDArray[np.bool_],
    uncertainty: NDArray[np.float32],
    steps: NDArray[np.intp],
    stacks: NDArray[np.uint8],
) -> None:
    """Fill the stack (voxels, axes) of the edge from each voxel to the next one along every axis, of those inside."""
    for v in range(values.size):
        if not inside[v]:
            continue
        for axis in range(steps.size):
            other = v + steps[axis]
            if not inside[other]:
                continue
            gap = values[other] - values[v]
            stacks[v, axis] = stack_of(abs(gap - np.rint(gap)), uncertainty[v], uncertainty[other])


@kernel
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
    """Do what :func:`best_path_turns` does where all periods are one turn.

    How safe an edge is then does not depend on the turns added, and is found for all edges beforehand, in order;
    ``stacks`` (voxels, axes) is scratch as well.
    """
    _stacks_of_edges(values, inside, uncertainty, steps, stacks)
    for v in range(values.size):
        held[v] = BUCKETS if inside[v] else -1
    top = np.full(BUCKETS, -1, dtype=np.int32)
    for seed in seeds:
        held[seed] = -1
    count = 0
    safest = BUCKETS
    waiting = 0
    while True:
        current = -1
        if waiting < seeds.size:
            current = seeds[waiting]
            waiting += 1
        else:
            edge, safest = safest_edge(top, edges, held, safest)
            if edge >= 0:
                origin, current = edges[edge, 0], edges[edge, 1]
                turns[current] = np.rint(values[origin] + turns[origin] - values[current])
                held[current] = -1
        if current < 0:
            break
        for side in range(2 * steps.size):
            axis = side // 2
            other = current + steps[axis] if side % 2 == 0 else current - steps[axis]
            if held[other] < 0:
                continue
            bucket = int(stacks[min(current, other), axis])
            if bucket > held[other]:
                continue
            held[other] = bucket
            edges[count, 0], edges[count, 1], edges[count, 2] = current, other, top[bucket]
            top[bucket] = count
            count += 1
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
