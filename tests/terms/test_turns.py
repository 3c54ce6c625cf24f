"""Whole turns read from a map: against a naive search, on wraps put in by hand, and where there are none."""

from collections import Counter

import numpy as np
import pytest

from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.terms.turns import GROUP_RAD, ROUNDS, SHARE, TOLERANCE_RAD, TURN, whole_turns

SHAPE = (14, 12, 10)


def neighbours(voxel, shape):
    for axis in range(3):
        for step in (-1, 1):
            other = list(voxel)
            other[axis] += step
            if 0 <= other[axis] < shape[axis]:
                yield tuple(other)


def naive_groups(phase, inside):
    """Number of the group of each voxel, by flooding, and the groups' sizes."""
    group, sizes = np.full(phase.shape, -1), []
    for seed in map(tuple, np.argwhere(inside)):
        if group[seed] >= 0:
            continue
        group[seed], todo, size = len(sizes), [seed], 0
        while todo:
            here, size = todo.pop(), size + 1
            for other in neighbours(here, phase.shape):
                if inside[other] and group[other] < 0 and abs(phase[other] - phase[here]) <= GROUP_RAD:
                    group[other] = len(sizes)
                    todo.append(other)
        sizes.append(size)
    return group, sizes


def naive_turns(phase, inside):
    total, phase = np.zeros(phase.shape, int), np.where(inside, phase, 0.0)
    for _ in range(ROUNDS):
        group, sizes = naive_groups(phase, inside)
        faces, jumps = Counter(), {}
        for here in map(tuple, np.argwhere(inside)):
            for other in neighbours(here, phase.shape):
                a, b = group[here], group[other]
                if b < 0 or a == b:
                    continue
                faces[a] += 1
                # Of groups of one size the one that begins first counts as the larger.
                if (sizes[a], -a) < (sizes[b], -b):
                    jumps.setdefault(a, []).append((phase[here] - phase[other]) / TURN)
        turns = {}
        for a, seen in jumps.items():
            turn, _ = Counter(np.rint(seen)).most_common(1)[0]
            if turn and sum(abs(jump - turn) <= TOLERANCE_RAD / TURN for jump in seen) >= SHARE * faces[a]:
                turns[a] = int(turn)
        if not turns:
            break
        change = np.vectorize(lambda a, turns=turns: turns.get(a, 0))(group)
        total += change
        phase = phase - TURN * change
    return total


def smooth(shape=SHAPE, seed=0):
    """A smooth phase of several radians with a little noise, in an ellipsoid."""
    x, y, z = np.ix_(*[np.linspace(-1, 1, n) for n in shape])
    noise = 0.1 * np.random.default_rng(seed).standard_normal(shape)
    return 2.5 * np.sin(1.5 * x) * np.cos(y) + z + noise, x**2 + y**2 + z**2 < 1.2


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spread", [0.1, 0.8, 3.0])
def test_finds_what_a_naive_search_finds(seed, spread):
    """Also on maps so rough that hardly anything is a wrap."""
    rng = np.random.default_rng(seed)
    phase, inside = smooth(seed=seed)
    phase = phase + spread * rng.standard_normal(SHAPE) + TURN * rng.integers(-2, 3, SHAPE) * (rng.random(SHAPE) < 0.05)
    phase = phase.astype(np.float32)
    np.testing.assert_array_equal(whole_turns(phase, inside), naive_turns(phase, inside))


def put(wraps, centre, radius, turns):
    x, y, z = np.ix_(*[np.arange(n) - c for n, c in zip(wraps.shape, centre, strict=True)])
    wraps[x**2 + y**2 + z**2 <= radius**2] += turns


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_single_voxels_patches_and_groups_in_groups_are_found(dtype):
    phase, inside = smooth((30, 28, 26))
    wraps = np.zeros(phase.shape, int)
    put(wraps, (8, 14, 13), 4, 1)
    put(wraps, (8, 14, 13), 2, 1)
    put(wraps, (21, 15, 12), 3.2, -2)
    for voxel, turns in {(15, 7, 12): 1, (15, 20, 9): -1, (16, 20, 16): 3}.items():
        wraps[voxel] += turns
    wraps *= inside
    wrapped = (phase + TURN * wraps).astype(dtype)
    np.testing.assert_array_equal(whole_turns(wrapped, inside), wraps)


def test_what_is_outside_has_no_say():
    phase, inside = smooth()
    wraps = np.zeros(SHAPE, int)
    wraps[6, 6, 5] = 1
    rough = np.where(inside, phase + TURN * wraps, 1e3)
    np.testing.assert_array_equal(whole_turns(rough, inside), wraps)


def test_the_field_of_a_strong_source_is_left_alone():
    """Jumps of several turns between neighbours, none of them a wrap."""
    shape = (28, 26, 24)
    truth = np.zeros(shape)
    truth[12:15, 11:14, 10:13] = 1.0
    field = DipoleOperator(Grid(shape), dtype=np.float64).forward(truth)
    phase = 60.0 * field
    assert max(np.abs(np.diff(phase, axis=axis)).max() for axis in range(3)) > 2 * TURN
    assert not whole_turns(phase, np.ones(shape, bool)).any()


def test_parts_of_a_mask_that_do_not_touch_are_not_compared():
    phase = np.zeros((9, 5, 5))
    phase[5:] = TURN
    inside = np.ones(phase.shape, bool)
    inside[4] = False
    assert not whole_turns(phase, inside).any()


def test_an_empty_mask_has_no_turns():
    assert not whole_turns(np.ones((3, 4, 5)), np.zeros((3, 4, 5), bool)).any()
