"""The kernels in plain numpy do what the compiled ones do, on random input: each call is made twice and compared."""

from __future__ import annotations

import inspect
import math
import pkgutil
from collections import Counter
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from oracles.extras import with_extras
from oracles.own import own_solvers
from scipy.ndimage import gaussian_filter

import qsm_recon.backend
import qsm_recon.backend.kernels
import qsm_recon.terms.fidelity
from qsm_recon import Grid, Problem, make_solver
from qsm_recon.backend import averaging, jit, rasterise
from qsm_recon.backend.kernels.decay import arlo_decay_rate, initial_magnitude, log_linear_decay_rate
from qsm_recon.backend.kernels.descent import descend
from qsm_recon.backend.kernels.echo import echo_misfit
from qsm_recon.backend.kernels.initial_phase import initial_phase_variance, phase_of_nodes, share_out_phase
from qsm_recon.backend.kernels.laplace import negative_laplacian, weighted_laplacian
from qsm_recon.backend.kernels.morphology import add_reference_term, advance_solution, next_direction
from qsm_recon.backend.kernels.signal import difference_frequency, fit_frequency, intercept_and_misfit, pair_frequency
from qsm_recon.backend.kernels.unwrap import best_path_turns, best_path_whole_turns, local_uncertainty, mark_wide_steps
from qsm_recon.operators.gradient import forward_difference, forward_difference_adjoint
from qsm_recon.terms.fidelity import absolute, chord, huber

SINGLE, DOUBLE = 2e-5, 1e-10
"""Largest difference relative to the largest number of an array, for calls with arrays in single precision or none."""
ROOMS = sorted(
    f"{package.__name__}.{module.name}"
    for package in (qsm_recon.backend, qsm_recon.backend.kernels, qsm_recon.terms.fidelity)
    for module in pkgutil.iter_modules(package.__path__)
    if not module.ispkg
)
INSIDE = {
    "_stacks_of_edges",
    "shrink_row",
    "_root",
    "_join",
    "_best_on_grid",
    "_regression_step",
    "_precision_and_misfit",
}
"""Kernels that only other kernels call."""


def kernels():
    """All kernels that are called from outside, by module and name."""
    found = {}
    for room in ROOMS:
        for name, value in vars(import_module(room)).items():
            whole = isinstance(value, jit.Kernel) and value._compiler is jit._compile_kernel
            if whole and value.__module__ == room and name not in INSIDE:
                found[f"{room.rpartition('.')[2]}.{name}"] = value
    return found


def difference(one, other):
    """Largest difference of two arrays relative to their largest number; whole numbers must be equal."""
    one, other = np.asarray(one), np.asarray(other)
    assert (one.shape, one.dtype) == (other.shape, other.dtype)
    if one.dtype.kind in "biu":
        return float(not np.array_equal(one, other))
    assert np.array_equal(np.isnan(one), np.isnan(other))
    size = np.nanmax(np.abs(one), initial=0)
    return float(np.nanmax(np.abs(one - other), initial=0) / size) if size else 0.0


def copied(arguments):
    """Copies of the arrays; one that is given twice stays one."""
    copies = {}
    for a in arguments:
        if isinstance(a, np.ndarray):
            copies.setdefault((a.__array_interface__["data"][0], a.shape), a.copy())
    return [copies[a.__array_interface__["data"][0], a.shape] if isinstance(a, np.ndarray) else a for a in arguments]


class Comparison:
    """Makes every call of a kernel twice, compiled and plain, and compares what comes out."""

    def __init__(self):
        self.calls = Counter()

    def call(self, kernel, *arguments, scratch=0):
        """Call both; of the last arguments but one so many are no result."""
        copies = copied(arguments)
        result = kernel.made()(*arguments)
        with np.errstate(all="ignore"):
            plain = kernel.plain()(*copies)
        name = f"{kernel.__module__.rpartition('.')[2]}.{kernel.__name__}"
        self.calls[name] += 1
        arrays = [
            (i, a, b) for i, (a, b) in enumerate(zip(arguments, copies, strict=True)) if isinstance(a, np.ndarray)
        ]
        bound = SINGLE if any(a.dtype in (np.float32, np.complex64) for _, a, _ in arrays) else DOUBLE
        arrays = [part for part in arrays if not len(arguments) - 1 - scratch <= part[0] < len(arguments) - 1]
        for index, one, other in arrays:
            assert difference(one, other) <= bound, f"{name}, argument {index}"
        if result is not None:
            assert np.shape(plain) == np.shape(result), name
            rounding = 1e-12  # what sums of nothing but differences of equals may leave
            assert np.allclose(plain, result, rtol=2e-4, atol=1e-6 * np.abs(result).max() + rounding), name
        return result


@pytest.fixture(scope="module")
def comparison():
    """All kernels compared while the tests of this file run."""
    pytest.importorskip("numba")
    from qsm_recon.backend.threads import set_thread_count, thread_count

    found, patch, before = Comparison(), pytest.MonkeyPatch(), thread_count()

    def call(kernel, *arguments):
        return found.call(kernel, *arguments)

    patch.setattr(jit.Kernel, "__call__", call)
    set_thread_count(1)  # others would write to the same arrays
    yield found
    set_thread_count(before)
    patch.undo()


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(7)
    shape = (13, 14, 11)
    field = (0.3 * gaussian_filter(rng.standard_normal(shape), 1)).astype(np.float32)
    field[5, 5, 5] += 2
    mask = np.zeros(shape, bool)
    mask[2:-2, 2:-3, 2:-2] = rng.random((9, 9, 7)) < 0.97
    magnitude = np.abs(gaussian_filter(rng.standard_normal(shape), 1)).astype(np.float32)
    grid = Grid(shape, (1, 1.2, 0.9), (0.1, 0.2, 0.97))
    return Problem(
        field, mask, grid, magnitude=magnitude, weight=magnitude, b0_tesla=3.0, echo_times_s=(0.02,), field_kind="local"
    )


@pytest.mark.parametrize("name", with_extras(sorted(set(own_solvers()) - {"mctfi"})))
@pytest.mark.parametrize("precision", ["single", "double"])
def test_every_method_calls_kernels_that_agree(name, precision, comparison, problem):
    declared = own_solvers()[name].declared()
    if precision == "double" and "precision" not in declared:
        return
    settings = {"max_iterations": 3, "precision": precision}
    make_solver(name, **{key: value for key, value in settings.items() if key in declared}).solve(problem)


def test_weighted_laplacian(comparison):
    rng = np.random.default_rng(16)
    for shape in ((5, 6, 7), (1, 4, 2)):
        image, weight = rng.standard_normal(shape).astype(np.float32), rng.random((3, *shape)).astype(np.float32)
        found = np.full(shape, np.nan, np.float32)
        energy = weighted_laplacian(image, weight, found)
        expected = forward_difference_adjoint(weight * forward_difference(image))
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert energy == pytest.approx(np.vdot(image, expected), rel=1e-5)


def block(rng, dtype, *, spread=1.0):
    """Predicted field, state, measured field and weight, with a row's ends without weight."""
    shape, nz = (5, 6, 16), 13
    predicted = rng.normal(0, spread, (2, *shape[1:])).astype(dtype)
    state, measured = rng.normal(0, spread, (2, *shape)).astype(dtype)
    weight = rng.uniform(0, 2, shape).astype(dtype)
    weight[rng.random(shape) < 0.2] = 0
    weight[..., :2] = 0
    weight[..., 11:] = 0
    weight[1, 2] = 0
    return predicted, state, measured, weight, 1, nz


@pytest.mark.parametrize("relaxation", [1.0, 1.6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_of_phase(comparison, dtype, relaxation):
    rng = np.random.default_rng(3)
    published = (
        (chord.squared_chord_step_single, absolute.chord_step_single)
        if dtype == np.float32
        else (chord.squared_chord_step_double, absolute.chord_step_double)
    )
    for spread in (0.3, 2.0):
        for step in (*published, absolute.absolute_step):
            step(*block(rng, dtype, spread=spread), dtype(0.7), dtype(1.3), dtype(relaxation), ())
        huber.huber_step(*block(rng, dtype, spread=spread), dtype(0.7), dtype(1.3), dtype(relaxation), (dtype(0.4),))


def spectra(rng, count, shape=(4, 5, 8)):
    parts = rng.standard_normal((2, count, *shape)).astype(np.float32)
    return (parts[0] + 1j * parts[1]).astype(np.complex64)


@pytest.mark.parametrize("single_last", [True, False])
def test_descent(comparison, single_last):
    rng = np.random.default_rng(4)
    residual, solution = spectra(rng, 2)
    dipole = rng.standard_normal(residual.shape).astype(np.float32)
    numbers = (np.float32(value) for value in (0.2, 0.3, 0.4))
    descend(residual, dipole, 1, 4, 7, single_last, *numbers, solution)


@pytest.mark.parametrize("scaled", [True, False])
def test_linear_solver(comparison, scaled):
    rng = np.random.default_rng(5)
    images = list(rng.standard_normal((5, 4, 5, 8)).astype(np.float32))
    scaling = images[4] if scaled else np.empty((0, 5, 8), np.float32)
    next_direction(1, 3, images[0], scaling, 7, np.float32(0.4), images[1])
    advance_solution(images[0][:2].copy(), images[1], images[2], scaling, 1, 7, np.float32(0.3), images[3], images[0])
    region = rng.random(images[0].shape) < 0.5
    add_reference_term(images[1][:2].copy(), images[2], region, 2, 7, np.float32(0.1), np.float32(2.0))


def test_laplacian(comparison):
    rng = np.random.default_rng(6)
    image = rng.standard_normal((6, 7, 8))
    negative_laplacian(0, 6, image, rng.random(image.shape) < 0.6, (1.0, 1.5, 2.0), np.full(image.shape, np.nan))


@pytest.mark.parametrize("groups", [1, 2])
def test_echoes_in_phase(comparison, groups):
    rng = np.random.default_rng(8)
    times = np.array([0.004, 0.010, 0.016, 0.022, 0.028])
    frequency = rng.uniform(-60, 60, 500)
    phase = 2 * np.pi * frequency[:, None] * times + rng.normal(0, 0.2, (500, 5)) + 0.5
    phase = np.angle(np.exp(1j * phase)).astype(np.float32)
    magnitude = (np.exp(-30 * times) * rng.uniform(0.5, 1, (500, 1))).astype(np.float32)
    magnitude[:3] = 0
    magnitude[3, 1:] = 0
    pairs = np.array([[j, j + 1] for j in range(4)], dtype=np.intp)
    found = np.empty(500)
    pair_frequency(0, 500, magnitude, phase, pairs, 0.006, found)
    start = found.copy()
    intercept, information, misfit = np.empty((500, groups)), np.empty(500), np.empty(500)
    group = (np.arange(5) % groups).astype(np.intp)
    fit_frequency(
        10, 500, magnitude, phase, times, group, 120.0, 60, 1e-6, 50, found, intercept[:], information, misfit
    )  # fmt: skip
    assert np.median(np.abs(found[10:] - frequency[10:])) < 2 or groups == 2
    for inverse_variance in (True, False):
        difference_frequency(0, 500, magnitude, phase, times, inverse_variance, start.copy(), np.empty(500))
    intercept_and_misfit(0, 500, magnitude, phase, times, start, np.empty((500, 1)), np.empty(500))


@pytest.mark.parametrize("spacing", [0.006, 0.0])
def test_decay(comparison, spacing):
    rng = np.random.default_rng(9)
    times = np.array([0.004, 0.010, 0.016, 0.022, 0.028])
    rates = rng.uniform(-20, 400, (500, 1))
    magnitude = np.abs(np.exp(-rates * times) + rng.normal(0, 0.01, (500, 5))).astype(np.float32)
    magnitude[0] = 0
    magnitude[1, 2:] = 0
    simpson = np.tile(np.array([0.002, 0.008, 0.002]), (3, 1))
    rate = np.empty(500, np.float32)
    arlo_decay_rate(0, 500, magnitude, simpson, spacing, 300.0, rate)
    initial_magnitude(0, 500, magnitude, times, rate, np.empty(500, np.float32))
    log_linear_decay_rate(0, 500, magnitude, times, spacing > 0, 300.0, np.empty(500, np.float32))


@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("full", [True, False])
def test_complex_echoes(comparison, full, initial):
    rng = np.random.default_rng(10)
    shape, times = (4, 5, 8), np.array([0.004, 0.012, 0.020])
    scales = 2 * np.pi * 42.577 * 3 * times
    field = rng.normal(0, 0.05, shape)
    signal = np.exp(1j * (0.3 + scales * field[..., None]) - 40 * times) * rng.uniform(0.5, 1, (*shape, 1))
    signal = (signal + 0.02 * rng.standard_normal(signal.shape)).astype(np.complex64)
    accepted = np.stack([np.full(shape, 0.7), np.full(shape, 30.0), np.zeros(shape)]).astype(np.float32)
    predicted = (field[1:3] + rng.normal(0, 0.02, (2, 5, 8))).astype(np.float32)
    inside = rng.random(shape) < 0.8
    measured = field.astype(np.float32)
    for reach in (math.inf, 0.01):
        echo_misfit(
            predicted, signal, inside, measured, reach, times, scales, 1, 7, full, initial, accepted,
            np.zeros_like(accepted), np.zeros(shape, np.float32), np.zeros_like(predicted),
        )  # fmt: skip


def test_unwrapping(comparison):
    rng = np.random.default_rng(11)
    shape = (14, 15, 12)
    smooth = 3 * gaussian_filter(rng.standard_normal(shape), 2) * 8
    values = np.zeros(shape)
    values[...] = smooth - np.rint(smooth)
    inside = np.zeros(shape, bool)
    inside[1:-1, 1:-1, 1:-1] = rng.random((12, 13, 10)) < 0.9
    steps = np.array([15 * 12, 12, 1], dtype=np.intp)
    uncertainty = np.full(values.size, 0.03, np.float32)
    local_uncertainty(values.ravel(), inside.ravel(), steps, uncertainty)
    period = np.ones(values.size, np.float32)
    seeds = np.flatnonzero(inside)[:1].astype(np.intp)

    def grown(kernel, *arguments):
        """Without the scratch, which only one of the two fills."""
        held, edges = np.empty(values.size, np.int16), np.empty((3 * int(inside.sum()), 3), np.int32)
        stacks = [np.empty((values.size, 3), np.uint8)] if kernel is best_path_whole_turns else []
        found = np.zeros(values.size)
        comparison.call(kernel, *arguments, *stacks, held, edges, found, scratch=len(stacks) + 2)
        return found

    flat = values.ravel(), inside.ravel()
    turns = grown(best_path_turns, flat[0], period, flat[1], uncertainty, steps, seeds)
    assert turns.any()
    whole = grown(best_path_whole_turns, *flat, uncertainty, steps, seeds)
    np.testing.assert_array_equal(whole, turns)
    period[::3] = 2  # a voxel's turns then matter to its neighbours
    assert np.any(grown(best_path_turns, flat[0], period, flat[1], uncertainty, steps, seeds) != turns)
    mark_wide_steps(values, np.ones(shape), inside, 0.5, np.zeros(shape, bool))


@pytest.mark.parametrize("shape", [(9, 11, 8), (9, 1, 3)])
def test_initial_phase(comparison, shape):
    rng = np.random.default_rng(13)
    index = np.flatnonzero(rng.random(shape) < 0.7).astype(np.intp)
    phase, power = rng.uniform(-9, 9, index.size).astype(np.float32), rng.uniform(0, 2, index.size)
    power[::5] = 0
    nodes = np.zeros((2, 3, 1 if shape[1] == 1 else 3, 2))
    first = np.array([0.5, 0.0, 1.0])
    share_out_phase(phase, power, index, shape, first, 4.0, *nodes)
    phase_of_nodes(3, index.size, index, shape, first, 4.0, *nodes, np.zeros(index.size))
    magnitude = rng.uniform(0, 1, (50, 4)).astype(np.float32)
    magnitude[0] = 0
    times = np.array([0.004, 0.010, 0.016, 0.022])
    initial_phase_variance(5, 50, magnitude, times, rng.uniform(0, 2, 50), 0.02, np.zeros(50))


def test_drawing(comparison):
    rng = np.random.default_rng(12)
    segments = rng.uniform(2, 10, (6, 8))
    segments[:, [3, 7]] = rng.uniform(0.2, 2, (6, 2))
    cover = np.zeros((14, 13, 12), np.float32)
    rasterise.draw_tubes(2, 12, cover, segments, np.zeros(3), np.array([1.0, 0.9, 1.1]))
    assert cover.any()
    bands = []
    for fine, coarse in zip(cover.shape, (5, 4, 6), strict=True):
        edges = np.linspace(0, fine, coarse + 1)
        overlap = np.minimum(edges[1:, None], np.arange(fine) + 1) - np.maximum(edges[:-1, None], np.arange(fine))
        bands += averaging.taps(np.maximum(overlap, 0) * coarse / fine)
    averaging.average_block(1, 5, cover, np.zeros((5, 4, 6), np.float32), *bands)


def test_every_kernel_was_compared(comparison):
    """Run after the others of this file; together they call every kernel there is."""
    if not comparison.calls:
        pytest.skip("the other tests of this file did not run")
    assert set(comparison.calls) == set(kernels())
    print("calls compared:", sum(comparison.calls.values()), "of", len(comparison.calls), "kernels")  # noqa: T201


@pytest.mark.parametrize(
    "name", sorted(name for name, found in kernels().items() if jit.plain_function(found.function))
)
def test_plain_kernels_have_the_same_arguments(name):
    function = kernels()[name].function
    plain = jit.plain_function(function)
    assert list(inspect.signature(plain).parameters) == list(inspect.signature(function).parameters)


def test_plain_functions_are_of_kernels():
    """None stays behind where a kernel goes."""
    known = set(kernels()) | {"generalised.shrink_row"}
    for place in ("scalars", "field_sweep", "trigonometry", "kernels.gradient"):
        inlined, room = vars(import_module(f"qsm_recon.backend.{place}")), place.rpartition(".")[2]
        known |= {f"{room}.{name}" for name, value in inlined.items()
                  if isinstance(value, jit.Kernel)}  # fmt: skip
    folder = Path(qsm_recon.backend.__file__).parent / "plain"
    for path in folder.glob("[!_]*.py"):
        if path.stem == "arrays":
            continue
        room = import_module(f"qsm_recon.backend.plain.{path.stem}")
        own = {name for name, value in vars(room).items()
               if inspect.isfunction(value) and value.__module__ == room.__name__ and name[0] != "_"}  # fmt: skip
        assert {f"{path.stem}.{name}" for name in own} <= known
