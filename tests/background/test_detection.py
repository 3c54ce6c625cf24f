"""Telling local fields from total ones, on masks of any kind."""

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from qsm_recon.background.detection import _smoothed, background_test, carry_over, kind_of_field
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem

SHAPE = (44, 40, 36)


def coordinates(voxel_size):
    return np.ix_(*[(np.arange(n) - (n - 1) / 2) * d for n, d in zip(SHAPE, voxel_size, strict=True)])


class Object:
    """Tissue of some texture in a ball, with air beside it."""

    def __init__(self, voxel_size=(2.0, 2.0, 2.0), direction=(0.0, 0.2, 1.0), seed=1, offset=0.0):
        self.grid = Grid(SHAPE, voxel_size, direction)
        self.xyz = x, y, z = coordinates(voxel_size)
        radius = 0.4 * min(n * d for n, d in zip(SHAPE, voxel_size, strict=True))
        self.mask = np.asarray(x**2 + y**2 + z**2 < radius**2)
        noise = np.random.default_rng(seed).standard_normal(SHAPE)
        texture = gaussian_filter(noise, [2.5 / d for d in voxel_size])
        tissue = np.where(self.mask, 0.03 * texture / texture.std(), 0)
        air = 9.4 * (x**2 + y**2 + (z - 1.2 * radius) ** 2 < (0.18 * radius) ** 2)
        air = air - 9.4 * ((x - 1.15 * radius) ** 2 + y**2 + (z + 0.3 * radius) ** 2 < (0.15 * radius) ** 2)
        operator = DipoleOperator(self.grid, dtype=np.float64, padding=20)
        self.local = operator.forward(tissue) + offset
        self.background = operator.forward(air * np.ones(SHAPE))

    def problem(self, background=1.0, mask=None, **changes):
        field = (self.local + background * self.background).astype(np.float32)
        return Problem(field, self.mask if mask is None else self.mask & mask, self.grid, **changes)


@pytest.fixture(scope="module")
def object_():
    return Object()


def test_tells_local_from_total(object_):
    local, total = (background_test(object_.problem(background)) for background in (0.0, 1.0))
    assert local.kind == "local"
    assert 0.4 < local.ratio < 2.5
    assert total.kind == "total"
    assert total.ratio < 0.08
    assert "explain 9" in total.text


@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), (1.0, 1.0, 4.0), (3.0, 1.5, 1.0)])
@pytest.mark.parametrize("direction", [(0, 0, 1), (0.7, 0.1, 0.7)])
def test_tells_them_apart_on_any_voxels_and_directions(voxel_size, direction):
    thing = Object(voxel_size, direction)
    assert kind_of_field(thing.problem(0.0)) == "local"
    assert kind_of_field(thing.problem(1.0)) == "total"


def slab(thickness, axis):
    def cut(xyz):
        return np.broadcast_to(np.abs(xyz[axis]) <= thickness / 2, SHAPE)

    return cut


def ball(radius, x=0.0):
    return lambda xyz: (xyz[0] - x) ** 2 + xyz[1] ** 2 + xyz[2] ** 2 < radius**2


@pytest.mark.parametrize(
    "cut", [slab(24, 0), slab(12, 2), slab(8, 1), slab(4, 2), slab(2, 0), ball(18), ball(10, 9), ball(6)],
)  # fmt: skip
def test_a_part_of_a_local_field_is_no_total_field(object_, cut):
    # Tissue outside the part adds a field of its own strength, as in any slab.
    assert kind_of_field(object_.problem(0.0, cut(object_.xyz))) == "local"


@pytest.mark.parametrize("cut", [slab(24, 0), slab(12, 0), slab(8, 1), ball(24), ball(10, 15)])
def test_a_part_of_a_total_field_is_one(object_, cut):
    assert kind_of_field(object_.problem(1.0, cut(object_.xyz))) == "total"


def test_a_constant_means_nothing():
    assert kind_of_field(Object(offset=0.5).problem(0.0)) == "local"
    assert kind_of_field(Object(offset=0.5).problem(1.0)) == "total"


def test_a_few_voxels_a_turn_off_do_not_hide_background(object_):
    problem = object_.problem(1.0)
    field = problem.field_ppm.copy()
    field[np.random.default_rng(3).random(SHAPE) < 0.002] += 0.4
    assert kind_of_field(dataclasses.replace(problem, field_ppm=field)) == "total"


def test_what_the_problem_says_comes_first(object_):
    assert kind_of_field(object_.problem(1.0, field_kind="local")) == "local"
    assert kind_of_field(object_.problem(0.0, field_kind="total")) == "total"


def test_is_done_once_for_each_problem(object_):
    problem = object_.problem(0.0)
    assert background_test(problem) is background_test(problem)


@pytest.mark.parametrize("field", [0.0, 0.3])
def test_a_uniform_field_is_local(field):
    mask = np.zeros((6, 5, 4), bool)
    mask[2:4, 1:4, 1:3] = True
    assert kind_of_field(Problem(np.full(mask.shape, field, np.float32), mask, Grid(mask.shape))) == "local"


def test_a_single_voxel_is_local():
    mask = np.zeros((6, 5, 4), bool)
    mask[2, 2, 2] = True
    assert kind_of_field(Problem(np.ones(mask.shape, np.float32), mask, Grid(mask.shape))) == "local"


@pytest.mark.parametrize("width", [0.31, 0.5, 2.0])
def test_texture_is_smoothed_as_scipy_does(width):
    image = np.random.default_rng(0).standard_normal((7, 20, 30)).astype(np.float32)
    for axis in range(3):
        expected = gaussian_filter(image, [width * (axis == other) for other in range(3)], mode="wrap")
        np.testing.assert_allclose(_smoothed(image, axis, width), expected, atol=1e-6)


def test_what_is_known_holds_without_the_constant(object_):
    problem = object_.problem(0.0)
    changed = problem.with_offset(0.3)
    carry_over(problem, changed)  # nothing is known yet
    found = background_test(problem)
    assert background_test(changed).ratio == pytest.approx(found.ratio, rel=1e-3)
    again = problem.with_offset(0.2)
    carry_over(problem, again)
    assert background_test(again) is found
