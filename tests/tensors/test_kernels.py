"""The kernels on tensors do what the compiled ones do: each call that solvers make is made twice and compared."""

from __future__ import annotations

import inspect
import math
import pkgutil
from collections import Counter
from importlib import import_module

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

torch = pytest.importorskip("torch", reason="torch is not installed (the extra 'torch'; make test-torch)")
pytest.importorskip("numba")

from oracles.own import own_solvers

import qsm_recon.backend.kernels
import qsm_recon.terms.fidelity
from qsm_recon import Grid, Problem, make_solver
from qsm_recon.backend import jit
from qsm_recon.backend.kernels import descent as descent_kernels
from qsm_recon.backend.kernels import generalised as generalised_kernels
from qsm_recon.backend.kernels import gradient as gradient_kernels
from qsm_recon.backend.kernels import morphology
from qsm_recon.backend.kernels.echo import echo_misfit
from qsm_recon.backend.kernels.laplace import negative_laplacian
from qsm_recon.backend.kernels.spectral import circulant_inverse
from qsm_recon.backend.kernels.turn import count_jumps, weighted_excess
from qsm_recon.backend.tensors import dispatch
from qsm_recon.errors import ParameterError
from qsm_recon.terms.fidelity import absolute, chord, huber

SINGLE, DOUBLE = 1e-5, 1e-11
"""Largest difference relative to the largest number of an array."""
CANCELLING = {"morphology.lagged_weights": 2e-3}
"""Sums of differences of nearly equal numbers (√(g² + e²) - e), which keep few digits in single precision."""
ON_HOST = ("sums", "times", "scales")
"""Arrays that stay numpy's: a few numbers that are summed up or told."""
HOST_ROOMS = {"averaging", "decay", "rasterise", "signal", "unwrap"}
"""Reading, field estimation and the phantom compute on the CPU, and so do the groups of voxels of whole turns."""
HOST_KERNELS = {"turn.count_jumps", "turn.find_groups", "turn.find_faces", "turn.turns_of_groups"}
INSIDE = {"generalised.shrink_row", "turn._root", "turn._join"}


def expected_twins():
    """Every kernel that is called from outside and whose buffers come from a transform."""
    found = {}
    backend, steps = qsm_recon.backend, qsm_recon.terms.fidelity
    modules = [(backend.kernels, m.name) for m in pkgutil.iter_modules(backend.kernels.__path__)]
    modules += [(steps, m.name) for m in pkgutil.iter_modules(steps.__path__)]
    for package, module in modules:
        if module in HOST_ROOMS:
            continue
        for name, value in vars(import_module(f"{package.__name__}.{module}")).items():
            own = getattr(value, "__module__", "").endswith(f".{module}")
            if isinstance(value, jit.Kernel) and own and value._compiler is jit._compile_kernel:
                found[f"{module}.{name}"] = value
    return {name: value for name, value in found.items() if name not in HOST_KERNELS | INSIDE}


TWINS = expected_twins()


def difference(one, other):
    """Largest difference of two arrays relative to the largest number of the first."""
    one, other = np.asarray(one), np.asarray(other)
    assert (one.shape, one.dtype) == (other.shape, other.dtype)
    if one.dtype.kind in "biu":
        return float(not np.array_equal(one, other))
    assert np.array_equal(np.isnan(one), np.isnan(other))
    size = np.nanmax(np.abs(one), initial=0)
    return float(np.nanmax(np.abs(one - other), initial=0) / size) if size else float(np.abs(other).max(initial=0))


def as_tensors(kernel, arguments):
    """The arguments with tensors that hold copies; an array that is given twice stays one."""
    copies, result = {}, []
    for name, value in zip(inspect.signature(kernel.function).parameters, arguments, strict=True):
        if isinstance(value, np.ndarray):
            key = (value.__array_interface__["data"][0], value.shape)
            made = value.copy() if name in ON_HOST else torch.from_numpy(value.copy())
            result.append(copies.setdefault(key, made))
        else:
            result.append(value)
    return result


class Comparison:
    """Makes every call of a kernel twice, compiled and on tensors, and compares what comes out."""

    def __init__(self):
        self.calls = Counter()

    def call(self, kernel, *arguments):
        name = f"{kernel.__module__.rpartition('.')[2]}.{kernel.__name__}"
        if name not in TWINS:
            return kernel.made()(*arguments)
        copies = as_tensors(kernel, arguments)
        storage = [copy.data_ptr() if isinstance(copy, torch.Tensor) else 0 for copy in copies]
        result = kernel.made()(*arguments)
        found = dispatch.runner(kernel)(*copies)
        self.calls[name] += 1
        arrays = [
            (i, a, b) for i, (a, b) in enumerate(zip(arguments, copies, strict=True)) if isinstance(a, np.ndarray)
        ]
        single = any(a.dtype in (np.float32, np.complex64) for _, a, _ in arrays)
        for index, one, other in arrays:
            if isinstance(other, torch.Tensor):
                assert other.data_ptr() == storage[index], f"{name}, argument {index}: another array"
            assert difference(one, other) <= (SINGLE if single else DOUBLE), f"{name}, argument {index}"
        if result is None:
            assert found is None, name
            return None
        assert all(type(value) is float for value in np.atleast_1d(np.array(found, object))), name
        bound = CANCELLING.get(name, 2e-5) if single else 1e-10
        size = max(np.abs(result).max(), 1e-3)  # a sum that is zero but for rounding has no size of its own
        assert np.allclose(found, result, rtol=bound, atol=1e-2 * bound * size), name
        return result


@pytest.fixture(scope="module")
def comparison():
    """All kernels compared while the tests of this file run."""
    from qsm_recon.backend.threads import set_thread_count, thread_count

    found, patch, before = Comparison(), pytest.MonkeyPatch(), thread_count()
    usual = jit.Kernel.__call__

    def call(kernel, *arguments):
        given = any(isinstance(value, torch.Tensor) for value in arguments)
        return usual(kernel, *arguments) if given else found.call(kernel, *arguments)

    patch.setattr(jit.Kernel, "__call__", call)
    set_thread_count(1)
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


@pytest.mark.parametrize(
    "name", sorted(name for name, kind in own_solvers().items() if name != "mctfi" and not kind.needs)
)
@pytest.mark.parametrize("precision", ["single", "double"])
def test_every_method_calls_kernels_that_agree(name, precision, comparison, problem):
    declared = own_solvers()[name].declared()
    if precision == "double" and "precision" not in declared:
        return
    settings = {"max_iterations": 3, "precision": precision}
    make_solver(name, **{key: value for key, value in settings.items() if key in declared}).solve(problem)


@pytest.mark.parametrize("settings", [{"regularisation_weighting": "edges"}, {"convex_iterations": 0}], ids=str)
@pytest.mark.parametrize("precision", ["single", "double"])
def test_other_paths_of_the_variational_methods(settings, precision, comparison, problem):
    for name in ("fansi", "fansi-tgv", "l1qsm"):
        make_solver(name, max_iterations=3, precision=precision, **settings).solve(problem)


def block(rng, dtype, *, spread=1.0):
    """Predicted field, state, measured field and weight, with a row's ends and some rows without weight."""
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
    kind = "single" if dtype == np.float32 else "double"
    published = getattr(chord, f"squared_chord_step_{kind}"), getattr(absolute, f"chord_step_{kind}")
    for spread in (0.3, 2.0):
        for step in (*published, absolute.absolute_step):
            step(*block(rng, dtype, spread=spread), dtype(0.7), dtype(1.3), dtype(relaxation), ())
        huber.huber_step(*block(rng, dtype, spread=spread), dtype(0.7), dtype(1.3), dtype(relaxation), (dtype(0.4),))


@pytest.mark.parametrize("single_last", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_descent_and_preconditioner(comparison, dtype, single_last):
    rng = np.random.default_rng(4)
    residual, solution = rng.standard_normal((2, 4, 5, 8, 2)).astype(dtype).view(np.result_type(dtype, 1j))[..., 0]
    dipole = rng.standard_normal(residual.shape).astype(dtype)
    numbers = (dtype(value) for value in (0.2, 0.3, 0.4))
    descent_kernels.descend(residual, dipole, 1, 4, 7, single_last, *numbers, solution)
    symbols = (rng.uniform(0.1, 4, n).astype(dtype) for n in (4, 5, 7))
    numbers = (dtype(value) for value in (0.2, 0.3, 0.4))
    circulant_inverse(dipole, *symbols, 1, 3, 7, *numbers, np.ones_like(dipole))


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_linear_solver(comparison, dtype, scaled):
    rng = np.random.default_rng(5)
    images = list(rng.standard_normal((5, 4, 5, 8)).astype(dtype))
    scaling = images[4] if scaled else np.empty((0, 5, 8), dtype)
    morphology.next_direction(1, 3, images[0], scaling, 7, dtype(0.4), images[1])
    morphology.advance_solution(
        images[0][:2].copy(), images[1], images[2], scaling, 1, 7, dtype(0.3), images[3], images[0]
    )
    region = rng.random(images[0].shape) < 0.5
    morphology.add_reference_term(images[1][:2].copy(), images[2], region, 2, 7, dtype(0.1), dtype(2.0))
    morphology.multiply_planes(images[1][:2].copy(), images[2], 2, 7)


@pytest.mark.parametrize("planes", [(0, 4), (1, 3), (2, 4)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_differences_of_any_block_of_planes(comparison, dtype, planes):
    rng = np.random.default_rng(13)
    first, last = planes
    image = rng.standard_normal((4, 5, 8)).astype(dtype)
    spacing = tuple(dtype(1 / h) for h in (1, 1.2, 0.9))
    weights = rng.uniform(0, 2, (3, 4, 5, 8)).astype(dtype)
    morphology.lagged_weights(first, last, image, weights, 7, spacing, dtype(0.1), np.zeros_like(weights))
    morphology.weighted_laplacian(first, last, image, weights, 7, spacing, np.zeros_like(image[first:last]))
    settings = tuple(dtype(value) for value in (0.3, 0.4, 0.8, 1.9))
    for count in (0, 1, 3):
        state, carried = rng.standard_normal((3, 4, 5, 8)).astype(dtype), np.zeros((5, 8), dtype)
        gradient_kernels.incoming_differences(
            image[..., :7], state, weights[:count], first, spacing[0], *settings, (), carried
        )
        gradient_kernels.shrink_gradient(
            image, state, weights[:count], first, last, 7, spacing, *settings, (), carried, image[last % 4].copy(),
            np.zeros_like(image[first:last]),
        )  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_planes_of_a_vector_field_at_once_are_what_they_are_one_by_one(dtype, count):
    rng = np.random.default_rng(14)
    (nx, ny, nz), spacing = (4, 5, 7), tuple(dtype(1 / h) for h in (1, 1.2, 0.9))
    image, vector = rng.standard_normal((nx, ny, 8)).astype(dtype), rng.standard_normal((3, nx, ny, 8)).astype(dtype)
    u1, u0 = rng.standard_normal((3, nx, ny, 8)).astype(dtype), rng.standard_normal((6, nx, ny, 8)).astype(dtype)
    weights = rng.uniform(0, 2, (count, nx, ny, 8)).astype(dtype)
    settings = (tuple(dtype(v) for v in (0.3, 0.4, 0.8, 1.9)), tuple(dtype(v) for v in (0.5, 0.6, 0.8, 1.9)))
    tensors = [torch.from_numpy(array.copy()) for array in (image, vector, u1, u0, weights)]

    carried, signed, out = np.zeros((9, ny, 8), dtype), np.zeros((9, ny, 8), dtype), np.zeros((nx, 4, ny, 8), dtype)
    sums, unused = np.zeros((2, 5)), np.zeros((2, 5))
    shrink, adjoint = generalised_kernels.shrink_plane, generalised_kernels.adjoint_plane
    shrink(
        image,
        vector[:, -1].copy(),
        vector[:, 0].copy(),
        u1,
        u0,
        weights,
        nx - 1,
        nz,
        spacing,
        *settings,
        False,
        carried,
        unused,
    )
    for plane in range(nx):
        here, beyond = (vector[:, i % nx].copy() for i in (plane, plane + 1))
        shrink(image, here, beyond, u1, u0, weights, plane, nz, spacing, *settings, True, signed, sums)
        adjoint(signed, carried, nz, spacing, dtype(0.7), dtype(0.9), out[plane])
        carried, signed = signed, carried

    before, at_once = torch.zeros(9, ny, 8, dtype=tensors[0].dtype), torch.zeros(9, nx, ny, 8, dtype=tensors[0].dtype)
    target, totals = torch.zeros(4, nx, ny, 8, dtype=tensors[0].dtype), np.zeros((2, 5))
    x, v, *others = tensors
    shrink(x, v[:, -1], v[:, 0], *others, nx - 1, nz, spacing, *settings, False, before, unused)
    shrink(x, v, v[:, 0], *others, 0, nz, spacing, *settings, True, at_once, totals)
    adjoint(at_once, before, nz, spacing, dtype(0.7), dtype(0.9), target)
    bound = SINGLE if dtype == np.float32 else DOUBLE
    assert difference(out, target.transpose(0, 1)) < bound
    assert np.allclose(totals, sums, rtol=10 * bound)
    assert difference(u1, tensors[2]) < bound
    assert difference(u0, tensors[3]) < bound


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_laplacian_and_excess(comparison, dtype):
    rng = np.random.default_rng(6)
    image = rng.standard_normal((6, 7, 8)).astype(dtype)
    scales = tuple(dtype(s) for s in (1.0, 1.5, 2.0))
    for first, last in ((0, 6), (2, 5), (0, 1)):
        negative_laplacian(first, last, image, rng.random(image.shape) < 0.6, scales, np.zeros_like(image))
    weight = rng.uniform(0, 2, image.shape).astype(dtype)
    for squared in (True, False):
        weighted_excess(image[2:4].copy(), -2 * image, weight, squared, 2, 7, 1.5)


@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_complex_echoes(comparison, dtype, full, initial):
    rng = np.random.default_rng(10)
    shape, times = (4, 5, 8), np.array([0.004, 0.012, 0.020])
    scales = 2 * np.pi * 42.577 * 3 * times
    field = rng.normal(0, 0.05, shape)
    signal = np.exp(1j * (0.3 + scales * field[..., None]) - 40 * times) * rng.uniform(0.5, 1, (*shape, 1))
    signal = (signal + 0.02 * rng.standard_normal(signal.shape)).astype(np.result_type(dtype, 1j))
    accepted = np.stack([np.full(shape, 0.7), np.full(shape, 30.0), np.zeros(shape)]).astype(dtype)
    predicted = (field[1:3] + rng.normal(0, 0.02, (2, 5, 8))).astype(dtype)
    inside = rng.random(shape) < 0.8
    for reach in (math.inf, 0.01):
        echo_misfit(
            predicted, signal, inside, field.astype(dtype), reach, times, scales, 1, 7, full, initial, accepted,
            np.zeros_like(accepted), np.zeros(shape, dtype), np.zeros_like(predicted),
        )  # fmt: skip


def test_every_kernel_was_compared(comparison):
    """Run after the others of this file; together they call every kernel that solvers' inner loops have."""
    if not comparison.calls:
        pytest.skip("the other tests of this file did not run")
    assert set(comparison.calls) == set(TWINS)


@pytest.mark.parametrize("name", sorted(TWINS))
def test_twins_have_the_same_arguments(name):
    function = TWINS[name].function
    twin = dispatch.twin_of(TWINS[name])
    assert list(inspect.signature(twin).parameters) == list(inspect.signature(function).parameters)


def test_a_kernel_without_a_twin_says_so():
    values = torch.zeros(3, 4, 5)
    with pytest.raises(ParameterError, match="'count_jumps' is there for the CPU only"):
        count_jumps(values, values > 0, 0.5)
