"""The geometry, and how it is read from an affine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsm_recon.errors import DataError
from qsm_recon.operators.grid import Grid, b0_direction_from_affine, unit_vector

SHAPE = (10, 12, 14)
VOXEL_SIZE = (0.7, 1.1, 2.3)


def rotation(angles):
    """Rotation matrix from three angles about x, y and z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def affine(axes, voxel_size=VOXEL_SIZE, origin=(-90, 12, 35)):
    matrix = np.eye(4)
    matrix[:3, :3] = np.asarray(axes) * voxel_size
    matrix[:3, 3] = origin
    return matrix


def test_sheared_axes_are_refused_and_rounded_ones_are_not():
    """Kernel and differences took them for orthogonal, without a word."""
    turn = rotation((0.3, -0.2, 0.7))
    rounded = np.round(affine(turn), 3)
    grid = Grid.from_affine(SHAPE, rounded)
    assert grid.b0_direction == pytest.approx(tuple(turn.T @ (0, 0, 1)), abs=1e-3)
    shear = np.eye(3)
    shear[0, 2] = np.tan(np.radians(1.5))
    Grid.from_affine(SHAPE, affine(turn @ shear, (1, 1, 1)))
    shear[0, 2] = np.tan(np.radians(20))
    with pytest.raises(DataError, match=r"axes 1 and 3 meet at 70\.0°, expected right angles"):
        Grid.from_affine(SHAPE, affine(turn @ shear, (1, 1, 1)))


def test_direction_is_stored_with_unit_length():
    grid = Grid(SHAPE, VOXEL_SIZE, (0, 3, 4))
    assert grid.b0_direction == pytest.approx((0, 0.6, 0.8))
    assert grid.b0_angle_deg == pytest.approx(np.degrees(np.arccos(0.8)))
    assert grid.n_voxels == 10 * 12 * 14


def test_defaults_are_one_millimetre_and_the_third_axis():
    grid = Grid(SHAPE)
    assert grid.voxel_size_mm == (1, 1, 1)
    assert grid.b0_direction == (0, 0, 1)
    assert grid.b0_angle_deg == 0


def test_resized_keeps_the_rest():
    grid = Grid(SHAPE, VOXEL_SIZE, (0, 0.6, 0.8))
    assert grid.resized((20, 21, 22)) == Grid((20, 21, 22), VOXEL_SIZE, (0, 0.6, 0.8))


def test_affine_without_rotation():
    grid = Grid.from_affine(SHAPE, affine(np.eye(3)))
    assert grid.voxel_size_mm == pytest.approx(VOXEL_SIZE)
    assert grid.b0_direction == pytest.approx((0, 0, 1))


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.floats(-np.pi, np.pi)] * 3), st.tuples(*[st.floats(0.2, 5)] * 3))
def test_rotated_affine_gives_the_bore_in_voxel_axes(angles, voxel_size):
    axes = rotation(angles)
    grid = Grid.from_affine(SHAPE, affine(axes, voxel_size))
    assert grid.voxel_size_mm == pytest.approx(voxel_size)
    # The direction, followed along the voxel axes through the world, points along the world's z.
    assert axes @ grid.b0_direction == pytest.approx([0, 0, 1], abs=1e-12)


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ([[0, 0, 1], [1, 0, 0], [0, 1, 0]], (0, 1, 0)),  # sagittal: the second voxel axis points up
        ([[1, 0, 0], [0, 0, 1], [0, 1, 0]], (0, 1, 0)),  # coronal
        ([[-1, 0, 0], [0, -1, 0], [0, 0, 1]], (0, 0, 1)),  # flipped in the plane
        ([[1, 0, 0], [0, 1, 0], [0, 0, -1]], (0, 0, -1)),  # slices from top to bottom
        ([[0, 1, 0], [0, 0, 1], [-1, 0, 0]], (-1, 0, 0)),
    ],
)
def test_permuted_and_flipped_affines(axes, expected):
    grid = Grid.from_affine(SHAPE, affine(axes))
    assert grid.voxel_size_mm == pytest.approx(VOXEL_SIZE)
    assert grid.b0_direction == pytest.approx(expected)
    assert b0_direction_from_affine(affine(axes)) == pytest.approx(expected)


def test_given_direction_overrides_the_affine():
    assert Grid.from_affine(SHAPE, affine(np.eye(3)), (0, 2, 0)).b0_direction == (0, 1, 0)


@pytest.mark.parametrize(
    "bad",
    [
        np.eye(3),
        np.zeros((4, 4)),
        affine([[1, 0, 0], [0, 1, 0], [0, 0, 0]]),
        affine([[1, 1, 0], [0, 0, 0], [0, 0, 1]]),
        affine(np.full((3, 3), np.nan)),
        affine(np.diag([np.inf, 1, 1])),
    ],
)
def test_bad_affine_is_refused(bad):
    with pytest.raises(DataError, match="affine"):
        Grid.from_affine(SHAPE, bad)


@pytest.mark.parametrize(
    "bad", [(0, 0, 0), (0, 1), (0, 0, 0, 1), 1.0, (np.nan, 0, 1), (np.inf, 0, 0), ((0, 0, 1),), (), ("up", 0, 1)]
)
def test_bad_direction_is_refused(bad):
    for make in (unit_vector, lambda d: Grid(SHAPE, VOXEL_SIZE, d), lambda d: Grid.from_affine(SHAPE, np.eye(4), d)):
        with pytest.raises(DataError, match="B0 direction: expected three numbers"):
            make(bad)


@pytest.mark.parametrize("bad", [(0, 4, 4), (4, 4), (4, 4, 4, 4), (4, -1, 4)])
def test_bad_shape_is_refused(bad):
    with pytest.raises(DataError, match="grid shape"):
        Grid(bad)


@pytest.mark.parametrize("bad", [(0, 1, 1), (1, 1), (1, np.nan, 1), (1, 1, -2), (1, 1, np.inf)])
def test_bad_voxel_size_is_refused(bad):
    with pytest.raises(DataError, match="voxel size"):
        Grid(SHAPE, bad)
