"""Descent and the two-step method against naive versions, iterate by iterate; the rule that stops descent."""

import itertools

import numpy as np
import pytest
from oracles import relative_error
from oracles.descent import (
    Inversion,
    conjugate_gradient,
    gradient_descent,
    known_frequency_admm,
    known_frequency_objective,
    krylov_least_squares,
)
from oracles.fields import difference_symbols, dipole_kernel

from qsm_recon.engines.admm import ADMM, ADMMSettings
from qsm_recon.engines.descent import ConeMonitor, Descent, DescentSettings
from qsm_recon.engines.known_frequencies import KnownFrequencySweeps
from qsm_recon.engines.least_squares import spectral_least_squares
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.terms.field_model import WeightedField
from qsm_recon.terms.regulariser import TotalVariation

VOXEL_SIZE, DIRECTION, SCALE = (0.9, 1.0, 1.6), (0.2, -0.3, 0.9), 12.0
SHAPES = [(12, 15, 10), (10, 12, 9)]
DAMPING = 0.02


def measurement(shape):
    rng = np.random.default_rng(5)
    chi = np.zeros(shape)
    chi[3:8, 4:9, 2:7], chi[5:9, 8:11, 4:8] = 0.2, -0.1
    kernel = dipole_kernel("continuous", shape, VOXEL_SIZE, DIRECTION)
    field = np.fft.ifftn(kernel * np.fft.fftn(chi)).real + 0.01 * rng.standard_normal(shape)
    weight = rng.uniform(0.2, 1.3, shape)
    weight[:2] = 0
    return kernel, field, weight, 0.05 * rng.standard_normal(shape)


def operator_of(shape):
    return DipoleOperator(Grid(shape, VOXEL_SIZE, DIRECTION), dtype=np.float64)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("conjugate", [False, True])
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("holds", [False, True])
def test_descent_equals_the_oracle(shape, conjugate, warm, holds):
    kernel, field, weight, start = measurement(shape)
    if holds:  # residuals of several radians, in a field too steep to tell wraps
        field = 10 * field
    model = Inversion(kernel, field, weight, SCALE, DAMPING, 1.0 if holds else np.inf)
    x = start if warm else np.zeros(shape)
    if conjugate:
        expected = conjugate_gradient(model, x, 50)
    else:
        expected = gradient_descent(model, x, 50, 2.0 / (weight.max() ** 2 + 2.25 * DAMPING))
    operator = operator_of(shape)
    settings = DescentSettings(conjugate, DAMPING, 2.0, 50, 0.0, automatic_stop=False)
    data = WeightedField(operator.transform, field, weight, SCALE, holds=holds)
    engine = Descent(operator.transform, operator.kernel, data, settings)
    iterates = []
    outcome = engine.run(x if warm else None, lambda _state: iterates.append(operator.crop(engine.image)))
    assert len(iterates) == 50
    for found, naive in zip(iterates, expected, strict=True):
        assert relative_error(found, naive) < 1e-8
    history = outcome.history
    assert history["objective"] == pytest.approx([model.objective(x) for x in expected], rel=1e-9)
    assert history["regularisation"] == pytest.approx([np.sum(x**2) / 2 for x in expected], rel=1e-9)
    both = [x, *expected]
    updates = [np.linalg.norm(b - a) / np.linalg.norm(b) for a, b in itertools.pairwise(both)]
    assert history["update"] == pytest.approx(updates, rel=1e-6)
    assert not outcome.converged


@pytest.mark.parametrize("conjugate", [False, True])
@pytest.mark.parametrize("holds", [False, True])
def test_objective_never_rises(conjugate, holds):
    """Whatever the weights and phases: 1 - cos lies below its tangent parabola of curvature one."""
    shape = SHAPES[0]
    _, field, weight, _ = measurement(shape)
    operator = operator_of(shape)
    model = WeightedField(operator.transform, 20 * field, 7 * weight, SCALE, holds=holds)
    settings = DescentSettings(conjugate, 1e-6, 4.4, 80, 0.0, automatic_stop=False)
    objective = Descent(operator.transform, operator.kernel, model, settings).run().history["objective"]
    if conjugate:  # steps of 4.4 overshoot the parabola's minimum, those of conjugate gradient meet it
        assert (np.diff(objective) <= 1e-12 * objective[0]).all()
    assert objective[-1] < objective[0]


@pytest.mark.parametrize("shape", [(16, 18, 20), (15, 17, 19), (16, 17, 15)])
def test_monitor_compares_mean_amplitudes_of_two_bands(shape):
    kernel = np.abs(dipole_kernel("continuous", shape, VOXEL_SIZE, DIRECTION))
    operator = operator_of(shape)
    grid = operator.padded_grid.shape
    kernel = np.abs(dipole_kernel("continuous", grid, VOXEL_SIZE, DIRECTION))
    x = np.random.default_rng(1).standard_normal(grid)
    radius = np.sqrt(sum(np.square(2 * f) for f in np.meshgrid(*[np.fft.fftfreq(n) for n in grid], indexing="ij")))
    ring, amplitude = (radius >= 0.65) & (radius <= 0.95), np.abs(np.fft.fftn(x))
    means = [amplitude[ring & (kernel >= a) & (kernel <= b)].mean() for a, b in ((0.15, 0.2), (0.225, 0.275))]
    monitor = ConeMonitor(operator.transform, operator.kernel)
    spectrum = operator.transform.forward(operator.transform.load_image(x), operator.transform.empty_spectrum())
    assert monitor.usable
    assert monitor.ratio(spectrum) == pytest.approx(means[0] / means[1], rel=1e-10)


def test_stops_when_the_band_near_the_cone_has_grown():
    """Noise alone: its amplitude near the cone passes that further away, and the loop ends there and then."""
    shape = (20, 20, 20)
    field = np.random.default_rng(0).standard_normal(shape) * 0.01
    operator = operator_of(shape)
    model = WeightedField(operator.transform, field, np.ones(shape), SCALE)
    settings = DescentSettings(True, 0.0, max_iterations=100)
    outcome = Descent(operator.transform, operator.kernel, model, settings).run()
    ratio = outcome.history["cone_ratio"]
    assert outcome.converged
    assert "cone" in outcome.stop_reason
    assert 4 <= len(ratio) < 100
    assert ratio[-1] > 1
    assert max(ratio[3:-1], default=0) <= 1


def test_grid_without_frequencies_in_the_bands_runs_on():
    shape = (3, 3, 3)
    field = np.random.default_rng(0).standard_normal(shape) * 0.01
    operator = operator_of(shape)
    monitor = ConeMonitor(operator.transform, operator.kernel)
    assert not monitor.usable
    model = WeightedField(operator.transform, field, np.ones(shape), SCALE)
    outcome = Descent(operator.transform, operator.kernel, model, DescentSettings(max_iterations=9)).run()
    assert len(outcome.history["objective"]) == 9
    assert np.isfinite(outcome.image).all()


# ---- two steps ----


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("iterations", [1, 2, 4])
def test_least_squares_in_k_space_is_the_best_of_its_krylov_space(shape, iterations):
    kernel, field, _, _ = measurement(shape)
    found = spectral_least_squares(operator_of(shape), field, iterations)
    assert relative_error(found, krylov_least_squares(kernel, field, iterations)) < 1e-9


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("relaxation", [1.0, 1.8])
def test_known_frequencies_equal_the_oracle(shape, relaxation):
    kernel, field, _, _ = measurement(shape)
    symbols = np.stack(difference_symbols(shape, VOXEL_SIZE))
    threshold, alpha, penalty = 0.15, 0.01, 0.4
    expected = known_frequency_admm(kernel, symbols, field, threshold, alpha, penalty, 50, relaxation)
    operator = operator_of(shape)
    transform = operator.transform
    regulariser = TotalVariation().on(transform, VOXEL_SIZE, alpha)
    sweeps = KnownFrequencySweeps(transform, operator.kernel, transform.load_image(field), threshold, regulariser)
    settings = ADMMSettings(penalty, 1.0, 50, 0.0, 0.0, relaxation=relaxation)
    engine = ADMM(sweeps, settings)
    iterates = []
    outcome = engine.run(field, lambda _state: iterates.append(operator.crop(engine.image)))
    assert len(iterates) == 50
    for found, naive in zip(iterates, expected, strict=True):
        assert relative_error(found, naive) < 1e-8
    values = [known_frequency_objective(kernel, symbols, field, threshold, alpha, x) for x in expected]
    assert outcome.history["objective"] == pytest.approx(values, rel=1e-9)
    assert not any("field" in name for name in outcome.history)
