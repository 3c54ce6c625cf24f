"""Kernels that find groups of voxels whose phase sticks out by whole turns.

Images are (nx, ny, nz); voxels have flat indices in C order.  Values are in turns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import kernel


@kernel
def count_jumps(values: NDArray, inside: NDArray[np.bool_], largest: float) -> int:
    """Count pairs of neighbours inside that differ by more than ``largest``."""
    nx, ny, nz = values.shape
    count = 0
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                if not inside[i, j, k]:
                    continue
                here = values[i, j, k]
                if k + 1 < nz and inside[i, j, k + 1] and abs(values[i, j, k + 1] - here) > largest:
                    count += 1
                if j + 1 < ny and inside[i, j + 1, k] and abs(values[i, j + 1, k] - here) > largest:
                    count += 1
                if i + 1 < nx and inside[i + 1, j, k] and abs(values[i + 1, j, k] - here) > largest:
                    count += 1
    return count


@kernel
def _root(parents: NDArray[np.int32], voxel: int) -> int:
    """First voxel of a group; halves the way there for the next time."""
    while parents[voxel] != voxel:
        parents[voxel] = parents[parents[voxel]]
        voxel = parents[voxel]
    return voxel


@kernel
def _join(parents: NDArray[np.int32], one: int, other: int) -> None:
    first, second = _root(parents, one), _root(parents, other)
    if first < second:
        parents[second] = first
    else:
        parents[first] = second


@kernel
def find_groups(
    values: NDArray, inside: NDArray[np.bool_], largest: float, groups: NDArray[np.int32], sizes: NDArray[np.int32]
) -> None:
    """Group the voxels inside that chains of neighbours join, none of which differ by more than ``largest``.

    Parameters
    ----------
    values, inside
        (nx, ny, nz).
    largest
        Largest difference within a group.
    groups
        (nx * ny * nz,) receives for each voxel the flat index of its group's first voxel.
    sizes
        (nx * ny * nz,) receives at that index the number of voxels; 0 elsewhere.
    """
    nx, ny, nz = values.shape
    for voxel in range(groups.size):
        groups[voxel] = voxel
        sizes[voxel] = 0
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                if not inside[i, j, k]:
                    continue
                here, voxel = values[i, j, k], (i * ny + j) * nz + k
                if k + 1 < nz and inside[i, j, k + 1] and abs(values[i, j, k + 1] - here) <= largest:
                    _join(groups, voxel, voxel + 1)
                if j + 1 < ny and inside[i, j + 1, k] and abs(values[i, j + 1, k] - here) <= largest:
                    _join(groups, voxel, voxel + nz)
                if i + 1 < nx and inside[i + 1, j, k] and abs(values[i + 1, j, k] - here) <= largest:
                    _join(groups, voxel, voxel + ny * nz)
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                voxel = (i * ny + j) * nz + k
                groups[voxel] = _root(groups, voxel)
                if inside[i, j, k]:
                    sizes[groups[voxel]] += 1


@kernel
def find_faces(
    values: NDArray,
    inside: NDArray[np.bool_],
    groups: NDArray[np.int32],
    sizes: NDArray[np.int32],
    pairs: NDArray[np.int32],
    jumps: NDArray[np.float32],
) -> int:
    """Find the faces between groups; returns how many there are, of which those are stored that find room.

    Parameters
    ----------
    values, inside, groups, sizes
        See :func:`find_groups`.
    pairs
        (room, 2) receives the smaller group and the larger one; of groups of one size the first is the larger.
    jumps
        (room,) receives the value on the side of the smaller group less that on the other.
    """
    nx, ny, nz = values.shape
    strides = (ny * nz, nz, 1)
    count = 0
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                if not inside[i, j, k]:
                    continue
                voxel = (i * ny + j) * nz + k
                for axis in range(3):
                    ii, jj, kk = i + (axis == 0), j + (axis == 1), k + (axis == 2)
                    if ii == nx or jj == ny or kk == nz or not inside[ii, jj, kk]:
                        continue
                    one, other = groups[voxel], groups[voxel + strides[axis]]
                    if one == other:
                        continue
                    if count < jumps.size:
                        smaller = sizes[one] < sizes[other] or (sizes[one] == sizes[other] and one > other)
                        step = values[i, j, k] - values[ii, jj, kk]
                        pairs[count, 0], pairs[count, 1] = (one, other) if smaller else (other, one)
                        jumps[count] = step if smaller else -step
                    count += 1
    return count


@kernel
def turns_of_groups(
    pairs: NDArray[np.int32], jumps: NDArray[np.float32], tolerance: float, share: float, turns: NDArray[np.int16]
) -> int:
    """Find by which whole turn each group sticks out of the larger ones around it.

    Parameters
    ----------
    pairs, jumps
        See :func:`find_faces`.
    tolerance
        How near to the whole turn a jump must be.
    share
        Of all its faces that must say so, more than half.
    turns
        (number of voxels,) receives the turn at the index of each group, 0 where it does not stick out.

    Returns
    -------
    int
        Number of groups that do.
    """
    votes = np.zeros(turns.size, np.int32)
    faces = np.zeros(turns.size, np.int32)
    turns[:] = 0
    for face in range(jumps.size):  # the only turn that can have more than half of the votes (Boyer and Moore)
        group, turn = pairs[face, 0], np.int16(np.rint(jumps[face]))
        if votes[group] == 0:
            turns[group] = turn
        votes[group] += 1 if turn == turns[group] else -1
    votes[:] = 0
    for face in range(jumps.size):
        group = pairs[face, 0]
        faces[group] += 1
        faces[pairs[face, 1]] += 1
        if abs(jumps[face] - turns[group]) <= tolerance:
            votes[group] += 1
    found = 0
    for group in range(turns.size):
        if turns[group] == 0:
            continue
        if votes[group] >= share * faces[group]:
            found += 1
        else:
            turns[group] = 0
    return found


@kernel
def weighted_excess(
    predicted: NDArray, measured: NDArray, weight: NDArray, squared: bool, first: int, nz: int, limit: float
) -> float:
    """Σ W (|D χ - φ| - limit) over the voxels of a block of planes where that is positive.

    Parameters
    ----------
    predicted
        (planes, ny, stride) D χ.
    measured, weight
        (nx, ny, stride) φ, and W, or its square where ``squared``.
    squared
        Whether ``weight`` is W².
    first, nz
        First plane of the block, and how many voxels of a row count.
    limit
        Residual from which on it counts.
    """
    total = 0.0
    for i in range(predicted.shape[0]):
        for j in range(predicted.shape[1]):
            p, phi, w = predicted[i, j], measured[first + i, j], weight[first + i, j]
            for k in range(nz):
                beyond = abs(p[k] - phi[k]) - limit
                if beyond > 0:
                    total += beyond * (np.sqrt(w[k]) if squared else w[k])
    return total
