"""Whole turns by which parts of a phase map stick out of what surrounds them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

GROUP_RAD = 0.5 * math.pi
"""Neighbours that differ by no more belong together."""
TOLERANCE_RAD = 1.0
"""How near to a whole turn a jump must be."""
SHARE = 0.75
"""Of the faces of a group that must show the same jump."""
ROUNDS = 4
TURN = 2.0 * math.pi


def whole_turns(phase: NDArray[np.floating], inside: NDArray[np.bool_]) -> NDArray[np.int16]:
    """Find the wraps of a phase map that can be told from the map alone.

    Chains of neighbours that differ by at most a quarter of a turn make a group.  A group is taken to be wrapped where
    three quarters of its faces show a jump towards a larger group by the same whole number of turns, to within one
    radian: single voxels, and patches of any size, wherever the field is not steep.  Beside a strong source jumps are
    large but not whole, nor the same all round, and nothing is changed.

    Parameters
    ----------
    phase
        (nx, ny, nz) phase in rad.
    inside
        (nx, ny, nz) voxels where it is known.

    Returns
    -------
    ndarray
        (nx, ny, nz) whole turns: ``phase - 2 π turns`` is without these wraps.  The largest group is never changed.
    """
    from qsm_recon.backend.kernels.turn import count_jumps, find_faces, find_groups, turns_of_groups

    total = np.zeros(phase.shape, np.int16)
    values = np.where(inside, phase, 0) / np.float32(TURN)
    groups, sizes = np.empty((2, phase.size), np.int32)
    found = np.empty(phase.size, np.int16)
    for _ in range(ROUNDS):  # a group in a group takes a second one
        if not count_jumps(values, inside, 1.0 - TOLERANCE_RAD / TURN):
            break
        find_groups(values, inside, GROUP_RAD / TURN, groups, sizes)
        room = find_faces(values, inside, groups, sizes, np.empty((0, 2), np.int32), np.empty(0, np.float32))
        pairs, jumps = np.empty((room, 2), np.int32), np.empty(room, np.float32)
        find_faces(values, inside, groups, sizes, pairs, jumps)
        if not turns_of_groups(pairs, jumps, TOLERANCE_RAD / TURN, SHARE, found):
            break
        change = np.where(inside, found[groups].reshape(phase.shape), np.int16(0))
        total += change
        values -= change
    return total
