"""The box that is computed on: cutting, embedding, and what it does to results."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import relative_error
from oracles.cases import SmallCase

from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.region import Region
from qsm_recon.solvers.constant_field import with_constant, without_constant
from qsm_recon.solvers.registry import make_solver

WIDE = 1e4


def problem_with(mask, voxel_size=(1.0, 1.0, 1.0)):
    return Problem(np.zeros(mask.shape, np.float32), mask, Grid(mask.shape, voxel_size))


@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    voxel_size=st.tuples(*[st.floats(0.3, 3.0)] * 3),
    margin=st.floats(0, 12, allow_subnormal=False),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_region_holds_mask_and_margin_and_no_more(shape, voxel_size, margin, seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < 0.1
    mask[tuple(rng.integers(0, shape))] = True
    region = Region.around(problem_with(mask, voxel_size), margin)
    assert region.cut(mask).sum() == mask.sum()
    inside = np.argwhere(mask)
    for (first, last), low, high, n, size in zip(
        region.box, inside.min(0), inside.max(0), shape, voxel_size, strict=True
    ):
        # What headers round off, a thousandth of a voxel, neither adds nor asks for one.
        least, most = margin - 1.01e-3 * size, margin + 1.001 * size
        assert first == 0 or least <= (low - first) * size < most
        assert last == n or least <= (last - 1 - high) * size < most
    image = rng.standard_normal(shape)
    embedded = region.embed(region.cut(image))
    assert embedded.shape == shape
    assert np.array_equal(region.cut(embedded), region.cut(image))
    assert np.count_nonzero(embedded) == region.cut(image).size


def test_wide_margin_is_the_whole_image():
    mask = np.zeros((5, 6, 7), bool)
    mask[2, 3, 3] = True
    problem = problem_with(mask)
    region = Region.around(problem, WIDE)
    assert region == Region.whole((5, 6, 7))
    assert region.is_whole
    assert region.cut_problem(problem) is problem


def test_every_image_of_a_problem_is_cut():
    shape, box = (8, 7, 6), (slice(2, 7), slice(1, 6), slice(1, 5))
    rng = np.random.default_rng(0)
    mask = np.zeros(shape, bool)
    mask[3:6, 2:5, 2:4] = True
    images = {
        name: rng.random(shape) for name in ("field_ppm", "magnitude", "weight", "field_noise_ppm", "r2star_per_s")
    }
    echoes = rng.random((*shape, 2)) + 1j
    problem = Problem(
        mask=mask, grid=Grid(shape, b0_direction=(0, 1, 0)), echoes=echoes, echo_times_s=(0.01, 0.02), b0_tesla=3.0,
        **images,
    )  # fmt: skip
    part = Region.around(problem, 1.0).cut_problem(problem)
    assert part.grid == Grid((5, 5, 4), b0_direction=(0, 1, 0))
    for name, image in (*images.items(), ("mask", mask), ("echoes", echoes)):
        assert np.array_equal(getattr(part, name), image[box])
        assert np.shares_memory(getattr(part, name), getattr(problem, name)), "copies were most of a solve's memory"
    assert part.phase_scale == problem.phase_scale


@pytest.fixture(scope="module")
def small_mask_case():
    """The blocks of the usual small case in the middle of a larger image."""
    case = SmallCase()
    pad = [(10, 12), (9, 7), (11, 13)]
    given = case.problem()
    shape = tuple(n + a + b for n, (a, b) in zip(case.shape, pad, strict=True))
    return Problem(
        np.pad(given.field_ppm, pad), np.pad(given.mask, pad),
        given.grid.resized(shape), magnitude=np.pad(given.magnitude, pad),
        b0_tesla=given.b0_tesla, echo_times_s=given.echo_times_s,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["tv", "wl1l2", "wh-qsm", "rts", "ndi"])
def test_solution_of_a_region_is_that_of_the_cut_problem(small_mask_case, name):
    """Neither lost nor shifted on the way: cut by hand, solve the whole, compare."""
    settings = {"max_iterations": 30}
    solver = make_solver(name, padding=0, margin=3.0, **settings)
    region = solver.region(small_mask_case)
    assert not region.is_whole
    found = solver.solve(small_mask_case)
    cut = region.cut_problem(without_constant(small_mask_case))
    whole = make_solver(name, padding=0, margin=WIDE, **settings).resolved(small_mask_case)
    alone = whole.reconstruction(cut, whole._solve(cut, None, None))
    assert found.susceptibility_ppm.shape == small_mask_case.grid.shape
    assert np.array_equal(found.mask, small_mask_case.mask)
    assert np.array_equal(region.cut(found.susceptibility_ppm), alone.susceptibility_ppm)
    assert not found.susceptibility_ppm[~found.mask].any()
    alone = with_constant(alone, found.details["field_constant_ppm"])
    for image_name, image in alone.images.items():
        assert np.array_equal(region.cut(found.images[image_name]), image)


def test_margin_hardly_matters_once_it_is_wide(small_mask_case):
    """Periodic copies of the field come no nearer than the margin on both sides."""
    whole, wide, narrow = (
        make_solver("tv", padding=0, margin=margin, regularisation_weight=5e-4)
        .solve(small_mask_case)
        .susceptibility_ppm
        for margin in (WIDE, 8.0, 0.0)
    )
    assert relative_error(wide, whole) < 0.1
    assert relative_error(wide, whole) < relative_error(narrow, whole)


def test_series_and_start_know_the_region(small_mask_case):
    solver = make_solver("tv", padding=0, margin=3.0, regularisation_weight=5e-4)
    alone = solver.solve(small_mask_case)
    series = solver.series(small_mask_case)
    series.solve(make_solver("tv", padding=0, margin=3.0, regularisation_weight=1e-3))
    continued = series.solve(solver)
    assert continued.susceptibility_ppm.shape == small_mask_case.grid.shape
    assert relative_error(continued.susceptibility_ppm, alone.susceptibility_ppm) < 0.03
    again = make_solver("tv", padding=0, margin=3.0, regularisation_weight=5e-4, max_iterations=1).solve(
        small_mask_case, start_ppm=alone.susceptibility_ppm
    )
    assert relative_error(again.susceptibility_ppm, alone.susceptibility_ppm) < 0.1
