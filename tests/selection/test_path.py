"""Sweeps: what they compute, and that running on gives what starting anew gives."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from oracles.extras import with_extras
from oracles.own import own_solvers

from qsm_recon.errors import ParameterError
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.result import IterationState
from qsm_recon.select.costs import SettledCosts, costs
from qsm_recon.select.curve import curve_of_points
from qsm_recon.select.frequency import Bands
from qsm_recon.select.noise import estimated_field_noise
from qsm_recon.select.path import Path, sweep_values
from qsm_recon.solvers.base import Solver
from qsm_recon.solvers.parameters import parameter
from qsm_recon.solvers.registry import make_solver

NEED_ECHOES = {"mctfi"}


@pytest.mark.parametrize("name", ["tv", "tgv", "l1qsm", "medi", "tikhonov", "tkd"])
def test_sweeps_are_monotone_and_every_point_has_settled(name, small):
    solver = make_solver(name)
    points = list(Path(solver, small.problem).sweep(sweep_values(solver.resolved(small.problem), count=6)))[::-1]
    curve = curve_of_points([[point] for point in points])
    assert all(point.settled for point in points)
    assert not curve.violations().any()
    assert (curve.noise_cost > 0).all()
    assert (curve.misfit_ratio is not None) == solver.iterative
    assert curve.misfit_ratio is None or (curve.misfit_ratio > 0).all()
    assert curve.noise_measured
    assert (curve.influence is not None) == (not solver.iterative)
    assert len(curve.sensitivity) == 5


@pytest.mark.parametrize("name", ["tv", "fansi", pytest.param("tgv", marks=pytest.mark.slow), "wl1", "medi"])
def test_running_on_ends_where_a_cold_start_does(name, small):
    tight = {"max_iterations": 1500, "tolerance": 1e-6, "residual_tolerance": 1e-3}
    if name == "medi":
        tight = {"max_iterations": 60, "update_tolerance": 1e-4, "cg_tolerance": 0.01}
    solver = make_solver(name, **tight)
    strong = solver.resolved(small.problem).main_value()
    series = solver.series(small.problem)
    series.solve(solver.with_regularisation(4 * strong))
    warm = series.solve(solver.with_regularisation(strong))
    cold = solver.with_regularisation(strong).solve(small.problem)
    np.testing.assert_allclose(costs(warm), costs(cold), rtol=5e-3)
    difference = np.linalg.norm(warm.susceptibility_ppm - cold.susceptibility_ppm)
    # Across edges medi has no regulariser, and what lies in the magic cone there is hardly determined.
    assert difference < (0.06 if name == "medi" else 0.02) * np.linalg.norm(cold.susceptibility_ppm)
    assert warm.parameters == cold.parameters


def test_running_on_with_the_same_weight_changes_nothing(small):
    solver = make_solver("tgv", max_iterations=20, tolerance=0.0)
    series = solver.series(small.problem)
    series.solve(solver)
    twice = series.solve(solver).history["objective"][-1]
    fresh = replace(solver, max_iterations=40).series(small.problem)
    assert fresh.solve(replace(solver, max_iterations=40)).history["objective"][-1] == pytest.approx(twice, rel=1e-6)


def test_a_series_starts_anew_when_more_than_the_weight_changes(small):
    series = make_solver("tv").series(small.problem)
    series.solve(make_solver("tv"))
    other = series.solve(make_solver("tv", gradient="unit-voxel", weighting="mask", tolerance=1e-6))
    direct = make_solver("tv", gradient="unit-voxel", weighting="mask", tolerance=1e-6).solve(small.problem)
    np.testing.assert_allclose(costs(other), costs(direct), rtol=5e-3)


@pytest.mark.parametrize("name", with_extras(sorted(set(own_solvers()) - NEED_ECHOES)))
def test_every_method_can_be_swept(name, small):
    points = list(Path(make_solver(name), small.problem).sweep([2e-2, 1e-2]))
    for point in points:
        assert point.data_cost > 0
        assert point.regularisation_cost > 0
        assert np.isfinite(point.susceptibility_ppm).all()


def test_methods_that_count_their_iterations_start_anew(small):
    solver = make_solver("ndi")
    points = list(Path(solver, small.problem).sweep([1e-3, 2e-4]))
    cold = solver.with_regularisation(2e-4).solve(small.problem)
    np.testing.assert_array_equal(points[1].susceptibility_ppm, cold.susceptibility_ppm)


def test_the_second_of_two_stages_goes_on_from_value_to_value(small):
    """In fewer iterations than solves from nothing; costs no further off than theirs, maps within 4 % of long ones."""
    solver, values = make_solver("wl1l2"), [3e-3, 1e-3, 3e-4, 1e-4, 3e-5]
    points = list(Path(solver, small.problem).sweep(values))
    alone = [solver.with_regularisation(value).solve(small.problem) for value in values]
    assert sum(point.iterations for point in points) < 0.9 * sum(result.iterations for result in alone)
    for point, cold in zip(points, alone, strict=True):
        result = replace(solver, regularisation_weight=point.value, tolerance=1e-4).solve(small.problem)
        limit = np.array(costs(result))
        off, usual = (
            abs(np.array(found) / limit - 1) for found in ((point.data_cost, point.regularisation_cost), costs(cold))
        )
        assert (off < np.maximum(usual, 0.02)).all()
        difference = (point.susceptibility_ppm - result.susceptibility_ppm)[small.mask]
        assert np.std(difference) < 0.04 * np.std(result.susceptibility_ppm[small.mask])


def test_any_numerical_parameter_can_be_swept(small):
    solver = make_solver("tgv")
    points = list(Path(solver, small.problem, "second_weight_ratio").sweep([4.0, 1.0]))
    assert [point.value for point in points] == [4.0, 1.0]
    with pytest.raises(ParameterError, match="not a real number; sweep one of regularisation_weight"):
        Path(solver, small.problem, "max_iterations")
    with pytest.raises(ParameterError, match="did you mean 'second_weight_ratio'"):
        Path(solver, small.problem, "second_weight")


def test_a_method_without_a_real_number_cannot_be_swept(small):
    @dataclass(frozen=True)
    class Counting(Solver):
        """Its main parameter counts."""

        name: ClassVar[str] = "counting"
        iterations: int = parameter(3, "1", "number of iterations", low=1, high=9, main=True)

        def _solve(self, problem, callback, start_ppm):
            raise AssertionError

    said = "'iterations' of 'counting' is not a real number; it has none, so that nothing can be swept"
    with pytest.raises(ParameterError) as refused:
        Path(Counting(), small.problem)
    assert str(refused.value) == said


@pytest.mark.parametrize("name", ["tikhonov", "tkd", "tsvd"])
def test_costs_of_closed_forms_are_those_of_the_map_before_masking(name, small):
    problem = replace(small.problem, mask=np.ones_like(small.mask))
    solver = make_solver(
        name, precision="double", padding=0, **({"regulariser": "identity"} if name == "tikhonov" else {})
    )
    result = solver.solve(problem)
    operator = DipoleOperator(problem.grid, dtype=np.float64)
    chi = result.susceptibility_ppm.astype(np.float64)
    # The grid's own sizes are fast ones, so that nothing is padded and the map is all there is.
    assert operator.padded_grid.shape == problem.grid.shape
    field = problem.field_ppm - result.details["field_constant_ppm"]
    expected = 0.5 * np.sum((operator.forward(chi) - field) ** 2), 0.5 * np.sum(chi**2)
    np.testing.assert_allclose(costs(result), expected, rtol=1e-5)


def test_values_go_from_strong_to_weak_inside_the_declared_range():
    values = sweep_values(make_solver("tkd", threshold=0.19), count=7)
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(0.66)
    assert sweep_values(make_solver("tv"), count=3, strongest=1.0, weakest=0.01) == [1.0, 0.1, 0.01]
    with pytest.raises(ParameterError, match="from a larger to a smaller"):
        sweep_values(make_solver("tv"), strongest=1e-5, weakest=1e-3)
    with pytest.raises(ParameterError, match="out of range"):
        sweep_values(make_solver("tkd", threshold=0.19), strongest=3.0)


def test_costs_settle_when_neither_changes_any_more():
    monitor = SettledCosts(0.01, window=3)
    for iteration in range(1, 40):
        value = 1 + 0.5**iteration
        go_on = monitor(IterationState(iteration, 99, {"fidelity": value, "regularisation": 2.0}))
        if not go_on:
            break
    # 3 iterations earlier the cost was 0.5^(n-3) above 1; that falls below 1 % at n = 10.
    assert iteration == 10
    assert monitor.settled


def test_a_veto_stops_without_settling():
    monitor = SettledCosts(0.01, lambda state: False, window=3)
    assert monitor(IterationState(1, 9, {"fidelity": 1.0, "regularisation": 1.0})) is False
    assert not monitor.settled


def test_a_solver_without_costs_is_named(small):
    result = make_solver("tkd").solve(small.problem)
    with pytest.raises(ParameterError, match="'tkd' does not report its fidelity"):
        costs(replace(result, details={}))


def test_bands_of_white_noise_are_alike_and_a_cone_shows():
    grid = Grid((24, 20, 18), (1.0, 1.2, 0.9), (0.1, 0.2, 0.97))
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(grid.shape).astype(np.float32)
    first, second, third = Bands(grid).means(noise)
    assert first == pytest.approx(third, rel=0.1)
    assert second == pytest.approx(third, rel=0.1)
    filtered = DipoleOperator(grid).forward(noise)
    first, second, third = Bands(grid).means(filtered)
    assert first < 0.08 * 1.1 * third / 0.22
    assert 0.1 / 0.32 < second / third < 0.2 / 0.22


@pytest.mark.parametrize("with_magnitude", [True, False])
def test_noise_is_found_under_a_field(with_magnitude):
    rng = np.random.default_rng(2)
    shape = (40, 44, 36)
    x, y, z = np.ix_(*[np.linspace(-1, 1, n) for n in shape])
    mask = x**2 + y**2 + z**2 < 0.9
    chi = np.where((x - 0.2) ** 2 + y**2 + z**2 < 0.1, 0.3, 0).astype(np.float32)
    magnitude = np.where(mask, 1.5 + x + 0 * y + 0 * z, 0).astype(np.float32) if with_magnitude else None
    deviation = np.where(mask, 0.004 / np.maximum(magnitude, 0.1) if with_magnitude else 0.004, 0)
    field = DipoleOperator(Grid(shape)).forward(chi) + deviation * rng.standard_normal(shape)
    problem = Problem(field.astype(np.float32), mask, Grid(shape), magnitude=magnitude)
    estimated = estimated_field_noise(problem)
    np.testing.assert_allclose(estimated[mask], deviation[mask], rtol=0.1)
    assert not estimated[~mask].any()
