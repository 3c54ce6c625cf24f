"""Validation of what goes into a solver."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsm_recon.errors import DataError, QSMError
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import DEFAULT_PHASE_SCALE, Problem, check_echo_times
from qsm_recon.units import rad_per_ppm

SHAPE = (4, 5, 6)
IMAGES = ("field_ppm", "magnitude", "weight", "field_noise_ppm", "r2star_per_s")
NON_NEGATIVE = ("magnitude", "weight", "field_noise_ppm")


def arguments(**changes):
    """Valid arguments of a problem, with changes; voxel (0, 0, 0) is outside the mask."""
    mask = np.ones(SHAPE, bool)
    mask[0, 0, 0] = False
    image = np.full(SHAPE, 0.1, np.float32)
    known = {"mask": mask, "grid": Grid(SHAPE), **{name: image.copy() for name in IMAGES}}
    known |= {"echoes": np.ones((*SHAPE, 2), np.complex64), "echo_times_s": (0.004, 0.012), "b0_tesla": 3.0}
    return {**known, **changes}


def test_keeps_what_it_is_given():
    given_arguments = arguments()
    problem = Problem(**given_arguments)
    for name in (*IMAGES, "mask", "echoes"):
        assert np.array_equal(getattr(problem, name), given_arguments[name])
    assert problem.echo_times_s == (0.004, 0.012)
    assert problem.notes == ()


def test_field_and_mask_are_enough():
    problem = Problem(np.zeros(SHAPE), np.ones(SHAPE, bool), Grid(SHAPE))
    assert problem.magnitude is None
    assert problem.echo_times_s == ()


@pytest.mark.parametrize("name", [*IMAGES, "mask", "echoes"])
def test_arrays_cannot_be_changed_through_the_problem(name):
    given_arguments = arguments()
    problem = Problem(**given_arguments)
    with pytest.raises(ValueError, match="read-only"):
        getattr(problem, name)[1, 1, 1] = 0
    given_arguments[name][1, 1, 1] = 0  # the caller's own array is still his


def test_attributes_cannot_be_replaced():
    with pytest.raises(AttributeError):
        Problem(**arguments()).b0_tesla = 7.0


# ---- shapes ----

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([*IMAGES, "mask"]), st.tuples(*[st.integers(1, 4)] * 3), shapes)
def test_every_shape_but_that_of_the_grid_is_refused(name, grid_shape, shape):
    images = {"field_ppm": np.full(grid_shape, 0.1), "mask": np.ones(grid_shape, bool)}
    images[name] = np.ones(shape, bool if name == "mask" else np.float32)
    if shape == grid_shape:
        assert getattr(Problem(grid=Grid(grid_shape), **images), name).shape == shape
        return
    with pytest.raises(DataError) as caught:
        Problem(grid=Grid(grid_shape), **images)
    assert str(caught.value) == f"{name}: expected shape {grid_shape}, found {shape}"


@pytest.mark.parametrize("shape", [SHAPE, (4, 5, 7, 2), (*SHAPE, 2, 1)])
def test_echoes_of_another_shape_are_refused(shape):
    with pytest.raises(DataError, match=r"echoes: expected shape \(4, 5, 6\)"):
        Problem(**arguments(echoes=np.ones(shape, np.complex64)))


@pytest.mark.parametrize("times", [(), (0.004,), (0.004, 0.012, 0.02)])
def test_one_echo_time_per_echo(times):
    with pytest.raises(DataError, match="echo times; give one per echo"):
        Problem(**arguments(echo_times_s=times))


# ---- the mask ----


def test_empty_mask_is_refused():
    with pytest.raises(DataError, match="mask: it is empty"):
        Problem(**arguments(mask=np.zeros(SHAPE, bool)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, int])
def test_mask_must_be_boolean(dtype):
    with pytest.raises(DataError, match="mask: expected booleans, found"):
        Problem(**arguments(mask=np.ones(SHAPE, dtype)))


# ---- values ----


@pytest.mark.parametrize("name", [*IMAGES, "echoes"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_inside_the_mask_must_be_finite(name, bad):
    image = arguments()[name]
    image[2, 3, 4] = image[3, 1, 0] = bad
    with pytest.raises(
        DataError, match=rf"{name}: 2 voxels inside the mask are NaN or infinite, the first at \(2, 3, 4\)"
    ):
        Problem(**arguments(**{name: image}))


@pytest.mark.parametrize("name", [*IMAGES, "echoes"])
def test_values_outside_the_mask_that_are_not_finite_count_as_zero(name, caplog):
    caplog.set_level(logging.INFO, logger="qsm_recon")
    image = arguments()[name]
    image[0, 0, 0] = np.nan
    problem = Problem(**arguments(**{name: image}))
    cleaned = getattr(problem, name)
    assert not np.any(cleaned[0, 0, 0])
    assert cleaned.dtype == image.dtype
    assert np.array_equal(cleaned[1:], image[1:])
    assert np.isnan(image[0, 0, 0]).all(), "the caller's own array stays as it was"
    assert problem.notes == (f"{name}: 1 values outside the mask were NaN or infinite and count as zero",)
    assert [record.message for record in caplog.records] == list(problem.notes)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize(
    ("given_type", "kept_type"),
    [("u1", "f4"), ("u2", "f4"), ("i2", "f4"), ("i4", "f8"), ("f2", "f4"), (">f4", "f4"), ("g", "f8"), ("?", "f4")],
)
def test_images_become_floating_point(name, given_type, kept_type):
    """Slopes of unsigned numbers, and squares of short ones, would wrap around."""
    image = (np.arange(np.prod(SHAPE)).reshape(SHAPE) + 1).astype(given_type)
    kept = getattr(Problem(**arguments(**{name: image})), name)
    assert kept.dtype == np.dtype(kept_type)
    assert kept.dtype.isnative
    assert np.array_equal(kept, image)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("dtype", [complex, object, "U3"])
def test_images_that_are_no_real_numbers_are_refused(name, dtype):
    with pytest.raises(DataError, match=f"{name}: expected real numbers, found .*; give"):
        Problem(**arguments(**{name: np.ones(SHAPE).astype(dtype)}))


def test_echoes_are_complex():
    with pytest.raises(DataError, match=r"echoes: expected complex numbers, found float32; give magnitude \* exp"):
        Problem(**arguments(echoes=np.ones((*SHAPE, 2), np.float32)))
    assert Problem(**arguments(echoes=np.ones((*SHAPE, 2), ">c8"))).echoes.dtype == np.complex64


@pytest.mark.parametrize("name", [*IMAGES, "echoes"])
def test_voxels_that_a_masked_array_hides_are_not_known(name):
    image = arguments()[name]
    hidden = np.zeros(image.shape, bool)
    hidden[0, 0, 0] = True
    cleaned = getattr(Problem(**arguments(**{name: np.ma.array(image, mask=hidden)})), name)
    assert not np.any(cleaned[0, 0, 0])
    hidden[2, 3, 4] = True
    with pytest.raises(DataError, match=rf"{name}: 1 voxels inside the mask are NaN .* at \(2, 3, 4\)"):
        Problem(**arguments(**{name: np.ma.array(image, mask=hidden)}))


@pytest.mark.parametrize("name", NON_NEGATIVE)
def test_negative_values_inside_the_mask_are_refused(name):
    image = arguments()[name]
    image[1, 2, 3] = -0.5
    with pytest.raises(DataError, match=f"{name}: expected no negative values, found -0.5"):
        Problem(**arguments(**{name: image}))


@pytest.mark.parametrize("name", NON_NEGATIVE)
def test_values_outside_the_mask_may_be_negative(name):
    image = arguments()[name]
    image[0, 0, 0] = -0.5
    Problem(**arguments(**{name: image}))


@pytest.mark.parametrize("name", NON_NEGATIVE)
def test_images_of_zeros_are_refused(name):
    image = np.zeros(SHAPE)
    image[0, 0, 0] = 1  # outside the mask
    with pytest.raises(DataError, match=f"{name}: it is zero everywhere inside the mask"):
        Problem(**arguments(**{name: image}))


# ---- echo times and field strength ----


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ((4.0, 12.0), "look like milliseconds"),
        ((0.004, 25), "look like milliseconds"),
        ((0.0, 0.01), "expected positive"),
        ((-0.01, 0.01), "expected positive"),
        ((np.nan, 0.01), "expected positive"),
        ((0.012, 0.004), "do not increase"),
        ((0.004, 0.004), "do not increase"),
    ],
)
def test_bad_echo_times_are_refused(times, message):
    with pytest.raises(DataError, match=message):
        check_echo_times(times)
    with pytest.raises(DataError, match=message):
        Problem(**arguments(echo_times_s=times))


@pytest.mark.parametrize("b0", [0, -3, 3000, np.nan, np.inf])
def test_bad_field_strength_is_refused(b0):
    with pytest.raises(DataError, match="B0: expected a field strength in tesla"):
        Problem(**arguments(b0_tesla=b0))


def test_phase_scale_is_that_of_the_mean_echo_time():
    problem = Problem(**arguments())
    assert problem.phase_scale == pytest.approx(rad_per_ppm(3.0, 0.008))
    assert "mean echo time" in problem.phase_scale_origin


@pytest.mark.parametrize("changes", [{"b0_tesla": None}, {"echo_times_s": (), "echoes": None}])
def test_phase_scale_is_assumed_where_it_is_not_known(changes):
    problem = Problem(**arguments(**changes))
    assert problem.phase_scale == DEFAULT_PHASE_SCALE
    assert "assumed" in problem.phase_scale_origin


def test_errors_are_of_the_family():
    assert issubclass(DataError, QSMError)
    assert issubclass(DataError, ValueError)


def test_a_changed_problem_is_locked_and_has_no_notes():
    field = np.ones((4, 4, 4), np.float32)
    mask = np.ones(field.shape, bool)
    mask[0] = False
    field[0] = np.nan
    problem = Problem(field, mask, Grid(field.shape))
    assert problem.notes
    changed = problem.changed(field_ppm=np.full(field.shape, 2, np.float32), echoes=None)
    assert not changed.notes
    assert changed.field_ppm[1, 1, 1] == 2
    assert problem.field_ppm[1, 1, 1] == 1
    assert changed.mask is not None
    with pytest.raises(ValueError, match="read-only"):
        changed.field_ppm[0] = 0
    with pytest.raises(TypeError, match="no member nothing"):
        problem.changed(nothing=1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["real", "imag"])
def test_an_echo_that_is_not_finite_is_found(value, part):
    echoes = np.ones((4, 4, 4, 2), np.complex64)
    getattr(echoes, part)[1, 2, 3, 1] = value
    arguments = (np.ones((4, 4, 4)), np.ones((4, 4, 4), bool), Grid((4, 4, 4)))
    with pytest.raises(DataError, match=r"echoes: 1 voxels inside the mask .* first at \(1, 2, 3\)"):
        Problem(*arguments, echoes=echoes, echo_times_s=(0.01, 0.02))
