"""Plain numpy for :mod:`qsm_recon.backend.kernels.turn`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.plain.arrays import planes, total

TURNS = 1 << 16
"""Whole turns that the type of their array can hold."""


def _neighbours(
    values: NDArray, inside: NDArray[np.bool_]
) -> Iterator[tuple[int, NDArray[np.bool_], NDArray, tuple[slice, ...], tuple[slice, ...]]]:
    """Pairs along every axis: axis, whether both are inside, value less that of the one ahead, the two parts."""
    for axis in range(3):
        here, ahead = [slice(None)] * 3, [slice(None)] * 3
        here[axis], ahead[axis] = slice(None, -1), slice(1, None)
        one, other = tuple(here), tuple(ahead)
        yield axis, inside[one] & inside[other], values[one] - values[other], one, other


def count_jumps(values: NDArray, inside: NDArray[np.bool_], largest: float) -> int:
    """See the kernel."""
    pairs = _neighbours(values, inside)
    return sum(int(np.count_nonzero(both & (np.abs(step) > largest))) for _, both, step, _, _ in pairs)


def find_groups(
    values: NDArray, inside: NDArray[np.bool_], largest: float, groups: NDArray[np.int32], sizes: NDArray[np.int32]
) -> None:
    """See the kernel."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    index = np.arange(groups.size, dtype=np.int32).reshape(values.shape)
    joined = [
        (index[one][both & (np.abs(step) <= largest)], index[other][both & (np.abs(step) <= largest)])
        for _, both, step, one, other in _neighbours(values, inside)
    ]
    first, second = (np.concatenate(ends) for ends in zip(*joined, strict=True))
    graph = coo_array((np.ones(first.size, np.int8), (first, second)), shape=(groups.size, groups.size))
    labels = connected_components(graph, directed=False)[1]
    groups[:] = np.unique(labels, return_index=True)[1][labels]
    sizes[:] = np.bincount(groups[inside.ravel()], minlength=sizes.size)


def find_faces(
    values: NDArray,
    inside: NDArray[np.bool_],
    groups: NDArray[np.int32],
    sizes: NDArray[np.int32],
    pairs: NDArray[np.int32],
    jumps: NDArray[np.float32],
) -> int:
    """See the kernel."""
    label = groups.reshape(values.shape)
    index = np.arange(groups.size, dtype=np.int64).reshape(values.shape)
    order, ones, others, steps = [], [], [], []
    for axis, both, step, one, other in _neighbours(values, inside):
        face = both & (label[one] != label[other])
        order.append(3 * index[one][face] + axis)
        ones.append(label[one][face])
        others.append(label[other][face])
        steps.append(step[face])
    first = np.argsort(np.concatenate(order))[: jumps.size]  # as the kernel meets them
    near, far, step = (np.concatenate(parts)[first] for parts in (ones, others, steps))
    smaller = (sizes[near] < sizes[far]) | ((sizes[near] == sizes[far]) & (near > far))
    pairs[: first.size, 0], pairs[: first.size, 1] = np.where(smaller, near, far), np.where(smaller, far, near)
    jumps[: first.size] = np.where(smaller, step, -step)
    return sum(map(len, order))


def turns_of_groups(
    pairs: NDArray[np.int32], jumps: NDArray[np.float32], tolerance: float, share: float, turns: NDArray[np.int16]
) -> int:
    """See the kernel."""
    turns[:] = 0
    if jumps.size == 0:
        return 0
    group, turn = pairs[:, 0].astype(np.int64), np.rint(jumps).astype(np.int16)
    kinds, counts = np.unique(group * TURNS + (turn.astype(np.int64) + TURNS // 2), return_counts=True)
    rising = np.argsort(counts, kind="stable")  # of a group the turn that most faces say is written last
    turns[kinds[rising] // TURNS] = kinds[rising] % TURNS - TURNS // 2
    faces = np.bincount(pairs.ravel(), minlength=turns.size)
    agreeing = np.abs(jumps - turns[group]) <= tolerance
    votes = np.bincount(group[agreeing], minlength=turns.size)
    found = (turns != 0) & (votes >= share * faces)
    turns[~found] = 0
    return int(np.count_nonzero(found))


def weighted_excess(
    predicted: NDArray, measured: NDArray, weight: NDArray, squared: bool, first: int, nz: int, limit: float
) -> float:
    """See the kernel."""
    p, phi, w = planes(predicted, first, nz, measured, weight)
    beyond = np.abs(p - phi) - limit
    return total(np.where(beyond > 0, beyond * (np.sqrt(w) if squared else w), 0))
