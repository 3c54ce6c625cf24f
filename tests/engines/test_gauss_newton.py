"""Gauss-Newton and conjugate gradient against naive float64 oracles, finite differences and a slow minimiser."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.optimize
from oracles import relative_error
from oracles.fields import dipole_kernel
from oracles.medi import MediModel, gauss_newton

from qsm_recon.engines.admm import ADMM, ADMMSettings
from qsm_recon.engines.conjugate_gradient import ImageConjugateGradient, NormalSystem, SpectralConjugateGradient
from qsm_recon.engines.gauss_newton import GaussNewton, GaussNewtonSettings
from qsm_recon.engines.sweeps import FieldSweeps
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.terms.fidelity import QuadraticFidelity
from qsm_recon.terms.field_model import WeightedField
from qsm_recon.terms.morphology import EdgeWeightedVariation, UniformRegion, neumann_difference
from qsm_recon.terms.regulariser import TotalVariation

ALPHA, SMOOTHING, BETA = 0.02, 1e-2, 0.3


@pytest.fixture(params=[(16, 15, 12), (16, 16, 16)], ids=str)
def case(request):
    """An oblique anisotropic case in rad, on a grid that needs no padding."""
    shape, voxel, direction = request.param, (1.0, 0.8, 1.3), (0.3, -0.2, 0.9)
    rng = np.random.default_rng(4)
    kernel = dipole_kernel("continuous", shape, voxel, direction)
    truth = np.zeros(shape)
    truth[4:9, 5:10, 3:8], truth[9:12, 3:7, 6:10] = 1.0, -0.6
    weight = rng.uniform(0.2, 1, shape) * (rng.random(shape) > 0.15)
    field = np.fft.ifftn(kernel * np.fft.fftn(truth)).real + 0.05 * rng.standard_normal(shape)
    edges = (rng.random((3, *shape)) > 0.3).astype(float)
    region = np.zeros(shape, bool)
    region[2:4, 2:9, 3:7] = True
    grid = Grid(shape, voxel, direction)
    return SimpleNamespace(**locals())


def parts(case, dtype=np.float64, scale=1.0, region=True, **options):
    operator = DipoleOperator(case.grid, dtype=dtype)
    model = WeightedField(operator.transform, case.field.astype(dtype), case.weight.astype(dtype), scale)
    variation = EdgeWeightedVariation(operator.transform, case.voxel, ALPHA, SMOOTHING, case.edges, **options)
    uniform = UniformRegion(operator.transform, case.region, BETA) if region else None
    return operator, model, variation, uniform


def engine(case, settings, dtype=np.float64, **options):
    operator, model, variation, uniform = parts(case, dtype)
    return operator, GaussNewton(operator, model, variation, settings, region=uniform, **options)


def oracle(case, **changes):
    known = {"alpha": ALPHA, "eps": SMOOTHING, "csf": case.region, "beta": BETA, **changes}
    return MediModel(case.field, case.weight, case.kernel, case.edges, case.voxel, **known)


def iterates(operator, loop, start=None):
    seen = []
    outcome = loop.run(start, callback=lambda _state: seen.append(operator.crop(loop.image)))
    return seen, outcome


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_follows_the_oracle_iterate_by_iterate(case, dtype):
    settings = GaussNewtonSettings(4, 0.0, 0.01, 100)
    operator, loop = engine(case, settings, dtype)
    found, outcome = iterates(operator, loop)
    expected, counts = gauss_newton(oracle(case), 4)
    limits = (1e-11, 1e-9, 1e-8, 1e-7) if dtype == np.float64 else (1e-5, 3e-3, 3e-3, 3e-3)
    for x, y, limit in zip(found, expected, limits, strict=True):
        assert relative_error(x, y) < limit
    if dtype == np.float64:
        assert outcome.history["cg_iterations"] == counts
        assert outcome.history["objective"][-1] == pytest.approx(oracle(case).objective(expected[-1]), rel=1e-6)


def system_of(case, seed=1):
    operator, model, variation, uniform = parts(case)
    start = np.random.default_rng(seed).standard_normal(case.shape)
    variation.relinearise(operator.transform.load_image(start))
    return operator, NormalSystem(operator.transform, operator.kernel, model.squared_weight, variation, uniform), start


@pytest.mark.parametrize("form", ["plain", "scaled", "spectral"])
def test_solves_the_linear_system_exactly(case, form):
    operator, system, start = system_of(case)
    scaling = np.random.default_rng(2).uniform(0.5, 3, case.shape) if form == "scaled" else None
    solver = SpectralConjugateGradient(system) if form == "spectral" else ImageConjugateGradient(system, scaling)
    model = oracle(case)
    # The system does not see a constant: take a right-hand side that has a solution.
    right = model.hessian(model.lagged(start), np.random.default_rng(3).standard_normal(case.shape))
    solution, outcome = solver.solve(operator.transform.load_image(right), 1e-11, 5000)
    left = model.hessian(model.lagged(start), operator.crop(solution))
    assert relative_error(left, right) < 1e-8
    assert 0 < outcome.iterations < 5000


def test_the_linear_operator_is_symmetric_and_definite(case):
    # One iteration from two right-hand sides gives <d, A d>; symmetry is that of the oracle, which is dense here.
    operator, system, start = system_of(case)
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((2, *case.shape))

    def apply(values):
        image = operator.transform.load_image(values)
        field = operator.transform.load_image(operator.forward(values)) * system.squared_weight
        out = operator.transform.empty_image()
        system.region.prepare(image)
        system.smooth_planes(image, 0, case.shape[0], out)
        return operator.forward(operator.crop(field)) + operator.crop(out)

    assert np.vdot(a, apply(b)) == pytest.approx(np.vdot(apply(a), b), rel=1e-10)
    assert np.vdot(a, apply(a)) > 0
    model = oracle(case)
    assert relative_error(apply(a), model.hessian(model.lagged(start), a)) < 1e-12


@pytest.mark.parametrize("scale", [None, 3.0])
def test_derivative_of_the_fidelity_is_its_finite_difference(case, scale):
    operator, model, _variation, _region = parts(case, scale=scale)
    rng = np.random.default_rng(6)
    point, direction = rng.standard_normal((2, *case.shape))
    out = operator.transform.empty_image()

    def value(step):
        return model.evaluate(operator.transform.load_image(point + step * direction), 0, out)

    h = 1e-5
    slope = (value(h) - value(-h)) / (2 * h)
    value(0.0)
    assert slope == pytest.approx(np.vdot(operator.crop(out), direction), rel=1e-7)


def test_quadratic_stands_above_the_nonlinear_fidelity(case):
    operator, model, _variation, _region = parts(case)
    rng = np.random.default_rng(7)
    point, step = rng.standard_normal((2, *case.shape))
    out = operator.transform.empty_image()
    moved = model.evaluate(operator.transform.load_image(point + step), 0, out)
    there = model.evaluate(operator.transform.load_image(point), 0, out)
    bound = there + np.vdot(operator.crop(out), step) + 0.5 * np.sum(case.weight**2 * step**2)
    assert moved < bound


@pytest.mark.parametrize("case", [(16, 16, 16)], indirect=True, ids=str)
@pytest.mark.parametrize("circulant", [False, True])
def test_exact_inner_solves_reach_the_minimiser(case, circulant):
    operator, loop = engine(case, GaussNewtonSettings(100, 1e-5, 1e-4, 1000), circulant=circulant)
    outcome = loop.run()
    assert outcome.converged
    model = oracle(case)
    found = scipy.optimize.minimize(
        lambda x: (model.objective(x.reshape(case.shape)), model.gradient(x.reshape(case.shape)).ravel()),
        np.zeros(case.truth.size),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 1000, "maxfun": 1500, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 30},
    )
    x = operator.crop(outcome.image)
    assert relative_error(x, found.x.reshape(case.shape)) < 2e-3
    assert model.objective(x) < found.fun * (1 + 1e-7)


@pytest.mark.parametrize("limit", [2, 7])
@pytest.mark.parametrize("options", [{}, {"circulant": True}])
def test_objective_falls_whatever_the_inner_accuracy(case, limit, options):
    _operator, loop = engine(case, GaussNewtonSettings(15, 0.0, 0.0, limit), **options)
    objective = loop.run().history["objective"]
    assert all(np.diff(objective) < 0)


def test_merit_takes_weight_from_outliers_only(case):
    field = case.field.copy()
    outlier = tuple(np.argwhere(case.weight > 0.8)[0])
    field[outlier] += 2.5
    operator = DipoleOperator(case.grid, dtype=np.float64)
    small = np.where(np.random.default_rng(0).random(case.shape) < 0.5, 1e-3, -1e-3)
    model = WeightedField(operator.transform, field, case.weight, 1.0, merit=True)
    predicted = operator.transform.load_image(case.field + small)
    assert not model.begin_outer(1, predicted)
    assert model.begin_outer(2, predicted)
    assert model.reweighted_voxels == 1
    ratio = np.sqrt(operator.crop(model.squared_weight)[case.weight > 0]) / case.weight[case.weight > 0]
    where = np.flatnonzero(np.flatnonzero(case.weight) == np.ravel_multi_index(outlier, case.shape))
    others = np.delete(ratio, where)
    assert np.ptp(others) < 1e-12
    assert ratio[where] < 0.2 * others[0]


def test_interrupts_and_callbacks_end_the_loop(case):
    _operator, loop = engine(case, GaussNewtonSettings(10, 0.0, 0.0, 3))
    outcome = loop.run(callback=lambda state: state.iteration < 2)
    assert outcome.stop_reason == "the callback asked to stop"
    assert len(outcome.history["objective"]) == 2
    assert not outcome.converged


def test_agrees_with_admm_on_the_same_edge_weighted_functional():
    shape, voxel = (24, 20, 16), (1.0, 0.8, 1.3)
    rng = np.random.default_rng(8)
    grid = Grid(shape, voxel, (0.1, 0.0, 1.0))
    truth = np.zeros(shape)
    truth[6:14, 5:12, 4:10] = 0.1
    operator = DipoleOperator(grid, dtype=np.float64)
    field = operator.forward(truth) + 0.003 * rng.standard_normal(shape)
    weight = rng.uniform(0.5, 1, shape)
    edges = (np.abs(neumann_difference(truth, voxel)) < 0.01).astype(float)
    alpha = 2e-3

    def objective(x):
        slope = np.stack([(np.roll(x, -1, axis) - x) / h for axis, h in enumerate(voxel)])
        misfit = weight * (operator.forward(x) - field)
        return 0.5 * np.sum(misfit**2) + alpha * np.sum(np.abs(edges * slope))

    model = WeightedField(operator.transform, field, weight)
    variation = EdgeWeightedVariation(operator.transform, voxel, alpha, 1e-5, edges, "periodic")
    newton = GaussNewton(operator, model, variation, GaussNewtonSettings(60, 1e-4, 1e-3, 300), circulant=True)
    by_newton = objective(operator.crop(newton.run().image))
    sweeps = FieldSweeps(
        operator.transform,
        operator.kernel,
        QuadraticFidelity().on(operator.transform, field, weight),
        TotalVariation().on(operator.transform, voxel, alpha, edges),
    )
    admm = ADMM(sweeps, ADMMSettings(gradient_penalty=alpha / 3e-3, max_iterations=1500, tolerance=0.0))
    by_admm = objective(operator.crop(admm.run().image))
    assert by_newton == pytest.approx(by_admm, rel=5e-3)
    assert objective(np.zeros(shape)) > 2 * by_admm
