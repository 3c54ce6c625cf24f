"""Total generalised variation: it reaches the minimum, and behaves in the limits."""

import numpy as np
import pytest
from oracles import relative_error
from oracles.cases import DIRECTION, VOXEL_SIZE, SmallCase
from oracles.cases import periodic_solver as make_solver
from oracles.distance import assert_distance_is_told
from oracles.variational import admm, smoothed_minimum

from qsm_recon.engines.admm import ADMM, ADMMSettings
from qsm_recon.engines.sweeps import FieldSweeps
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.terms.fidelity import QuadraticFidelity
from qsm_recon.terms.regulariser import TotalVariation, generalised_variation

ALPHA = 5e-4
FIDELITY = {"tgv": "quadratic", "fansi-tgv": "nonlinear"}
LONG = {"tolerance": 0.0, "residual_tolerance": 0.0, "max_iterations": 1500, "precision": "double"}


@pytest.fixture(scope="module")
def case():
    return SmallCase()


@pytest.mark.parametrize("name", FIDELITY)
def test_public_solver_is_the_oracle_in_ppm(case, name):
    model, scale = case.model(1e-3, FIDELITY[name], "tgv", ratio=0.7), case.scale(FIDELITY[name])
    mu1 = 0.02
    mu0 = mu1 * generalised_variation.PENALTY_RATIO * 0.7 * np.sqrt(np.mean(np.square(VOXEL_SIZE)))
    expected = admm(model, 30, mu1, mu0, 4.0, 1.0, 1.3)[-1]
    settings = {"max_iterations": 30, "tolerance": 0.0, "precision": "double", "regularisation_weight": 1e-3}
    settings |= {"gradient_penalty": mu1, "field_penalty": 4.0, "relaxation": 1.3, "second_weight_ratio": 0.7}
    if FIDELITY[name].startswith("nonlinear"):
        settings["convex_iterations"] = 0
    result = make_solver(name, **settings).solve(case.problem())
    assert relative_error(result.susceptibility_ppm, np.where(case.mask, expected[0] / scale, 0)) < 1e-6
    assert result.history["objective"][-1] == pytest.approx(model.objective(expected) / scale**2, rel=1e-6)


@pytest.mark.parametrize("name", FIDELITY)
@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_reaches_the_minimum_at_default_settings(case, name, ratio):
    solver = {"regularisation_weight": ALPHA, "second_weight_ratio": ratio}
    result = make_solver(name, **solver).solve(case.problem())
    long = make_solver(name, **solver, **LONG).solve(case.problem())
    objective = long.history["objective"]
    assert objective[len(objective) // 2] < 1.0001 * objective[-1], "the long run has not come to its end"
    assert result.converged
    assert result.history["objective"][-1] < 1.005 * objective[-1]
    assert_distance_is_told(result, long.susceptibility_ppm)


def test_long_run_is_within_the_bounds_of_an_independent_minimiser():
    case = SmallCase((8, 9, 6))
    low, high = smoothed_minimum(case.model(ALPHA, "quadratic", "tgv", ratio=0.5), 1e-5, 500)
    long = make_solver("tgv", regularisation_weight=ALPHA, second_weight_ratio=0.5, **LONG).solve(case.problem())
    assert low < long.history["objective"][-1] < high < 1.005 * low


class WithoutVector(generalised_variation.VectorSplitting):
    """v held at zero."""

    def reduce_rows(self, first, last, penalty):
        self.coupling = 0.0
        self.spectra[1:, :, first:last] = 0

    def restore_rows(self, first, last, penalty):
        self.spectra[1:, :, first:last] = 0


def test_with_the_vector_held_at_zero_it_is_total_variation(case):
    operator = DipoleOperator(Grid(case.shape, VOXEL_SIZE, DIRECTION), dtype=np.float64)
    transform = operator.transform
    iterates = []
    for regulariser in (
        TotalVariation().on(transform, VOXEL_SIZE, ALPHA),
        WithoutVector(transform, VOXEL_SIZE, ALPHA, 2 * ALPHA),
    ):
        fidelity = QuadraticFidelity().on(transform, case.field, case.magnitude)
        settings = ADMMSettings(0.05, 1.0, 40, 0.0, 0.0)
        engine = ADMM(FieldSweeps(transform, operator.kernel, fidelity, regulariser), settings)
        iterates.append(operator.crop(engine.run().image))
    assert relative_error(iterates[1], iterates[0]) < 1e-10


def test_with_dear_slopes_it_tends_to_total_variation(case):
    """Only a constant v costs nothing, and the median slope of these blocks is zero."""
    tgv = make_solver("tgv", regularisation_weight=ALPHA, second_weight_ratio=1000.0, **LONG).solve(case.problem())
    tv = make_solver("tv", regularisation_weight=ALPHA, **LONG).solve(case.problem())
    assert tgv.history["objective"][-1] == pytest.approx(tv.history["objective"][-1], rel=1e-3)
    assert relative_error(tgv.susceptibility_ppm, tv.susceptibility_ppm) < 0.02


def test_with_cheap_slopes_it_costs_less_than_total_variation(case):
    tgv = make_solver("tgv", regularisation_weight=ALPHA, second_weight_ratio=0.3, **LONG).solve(case.problem())
    tv = make_solver("tv", regularisation_weight=ALPHA, **LONG).solve(case.problem())
    assert tgv.history["objective"][-1] < 0.95 * tv.history["objective"][-1]


def test_nonlinear_with_a_tiny_phase_is_linear(case):
    problem = case.problem(b0_tesla=0.05, echo_times_s=(1e-4,))
    settings = {"regularisation_weight": ALPHA, "relaxation": 1.6, "max_iterations": 60, "tolerance": 0.0}
    linear, nonlinear = (make_solver(name, **settings).solve(problem).susceptibility_ppm for name in FIDELITY)
    assert relative_error(nonlinear, linear) < 1e-4
