"""What every registered solver must do.  A new one is tested here from the day it is registered."""

import dataclasses
from functools import cache

import numpy as np
import pytest
from oracles import relative_error
from oracles.extras import with_extras

from qsm_recon.errors import DataError, ParameterError
from qsm_recon.operators.grid import Grid
from qsm_recon.result import IterationState
from qsm_recon.solvers import registry

# Those that cannot do with a field map have tests of their own.
NAMES = sorted(name for name, solver in registry.solvers().items() if not getattr(solver, "needs_echoes", False))
ITERATIVE = [name for name in NAMES if registry.find_solver(name).iterative]

# Scaling law: with the field times c, the echo time divided by c and the main parameter times c to this power, the
# susceptibility is c times as large.  A new solver states its power here; None where it obeys no such law.
SCALING_POWER = {
    "tkd": 0,
    "tsvd": 0,
    "tikhonov": 0,
    "tv": 1,
    "fansi": 1,
    "tgv": 1,
    "fansi-tgv": 1,
    "wl1": 0,
    "l1qsm": 0,
    "wl1l2": None,  # the published link between the weights of its stages holds in ppm only
    "wh-qsm": 1,
    "wh-nlqsm": 1,
    "admm": 1,
    "ndi": 0,
    "rts": 1,
    "medi": None,
    "tfi": None,
    "qsminvnet": None,  # the weight of the map that they begin with follows the data, to four digits
    "fine": None,
}
LEARNED = {"qsminvnet", "fine"}
"""What these make of a field with the other sign is not the map with the other sign: veins are paramagnetic."""
WITHOUT_START = {"fine"}
"""Iterative, and start from something else than a map."""

every_solver = pytest.mark.parametrize("name", with_extras(NAMES))
every_iterative_solver = pytest.mark.parametrize("name", with_extras(ITERATIVE))


def quick(name, **parameters):
    """Make a solver that does few iterations."""
    declared = registry.find_solver(name).declared()
    few = {
        key: min(p.default, 30) for key, p in declared.items() if "iterations" in key and p.kind is int and p.default
    }
    return registry.make_solver(name, **{**few, **parameters})


@pytest.fixture(scope="module")
def usual(synthetic):
    """What each method makes of the unchanged measurement, computed once; that it is repeatable is a test below."""
    return cache(lambda name: quick(name).solve(synthetic.problem()))


# ---- what it says of itself ----


@every_solver
def test_describes_itself(name):
    solver = registry.find_solver(name)
    assert solver.name == name
    assert name == name.lower()
    assert len(solver.title) > 3
    assert "doi 10." in solver.citation
    assert solver.__doc__
    assert "\n" not in solver.title
    assert quick(name).memory_volumes() > 0


@every_solver
def test_has_one_main_parameter(name):
    solver = registry.find_solver(name)
    assert sum(declared.main for declared in solver.declared().values()) == 1
    main = solver.main_parameter()
    assert main.kind in (float, int)
    assert (main.default is None) == bool(solver.default_rule)
    value = main.kind(0.03 if main.default is None else 2 * main.default)
    changed = quick(name).with_regularisation(value)
    assert changed.parameters()[main.name] == changed.main_value() == value
    assert dataclasses.replace(changed, **{main.name: main.default}) == quick(name)


@every_solver
def test_declares_unit_help_and_range_of_every_parameter(name):
    solver = registry.find_solver(name)
    for declared in solver.declared().values():
        assert declared.unit, declared.name
        assert len(declared.help) > 5, declared.name
        assert "\n" not in declared.help
        assert declared.kind in (float, int, bool, str)
        assert declared.describe_range()
        declared.check(declared.default)
        if declared.kind in (float, int):
            assert declared.low is not None or declared.high is not None, f"{declared.name} has no range"
        if declared.kind is str:
            assert declared.default in declared.choices


@every_solver
def test_refuses_values_out_of_range(name):
    for key, declared in registry.find_solver(name).declared().items():
        bad = ["nonsense"] if declared.kind is not bool else ["nonsense", 3]
        if declared.low is not None:
            bad.append(declared.kind(declared.low - 1))
        if declared.high is not None:
            bad.append(declared.kind(declared.high + 1))
        if declared.kind is float:
            bad.append(float("nan"))
        for value in bad:
            with pytest.raises(ParameterError, match=key):
                registry.make_solver(name, **{key: value})


@every_solver
def test_refuses_unknown_parameters_with_the_near_match(name):
    main = registry.find_solver(name).main_parameter().name
    with pytest.raises(ParameterError, match=f"no parameter '{main}s'; did you mean '{main}'"):
        registry.make_solver(name, **{main + "s": 1.0})


@every_solver
def test_is_immutable(name):
    solver = quick(name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(solver, solver.main_parameter().name, 1.0)


# ---- what it computes ----


def assert_sound(result, problem, name):
    chi = result.susceptibility_ppm
    assert chi.shape == problem.grid.shape
    assert chi.dtype == np.float32
    assert np.isfinite(chi).all()
    assert not chi[~problem.mask].any()
    assert result.solver == name
    assert result.stop_reason
    assert result.timings_s["solve"] > 0
    for values in result.history.values():
        assert len(values) == result.iterations
        assert np.isfinite(values).all()


@every_solver
def test_finds_the_susceptibility_of_an_oblique_odd_sized_case(name, synthetic):
    problem = synthetic.problem()
    solver = quick(name)
    result = solver.solve(problem)
    assert_sound(result, problem, name)
    assert result.parameters == solver.resolved(problem).parameters()
    assert result.parameters[solver.main_parameter().name] > 0
    assert (result.iterations > 0) == solver.iterative
    truth, found = synthetic.truth[problem.mask], result.susceptibility_ppm[problem.mask]
    assert np.corrcoef(truth, found)[0, 1] > 0.8
    assert relative_error(found - found.mean(), truth - truth.mean()) < 0.75


@every_solver
def test_ignores_the_field_outside_the_mask(name, synthetic, usual):
    outside = np.where(synthetic.mask, synthetic.field, 17.0)
    expected = usual(name).susceptibility_ppm
    assert np.array_equal(quick(name).solve(synthetic.problem(field_ppm=outside)).susceptibility_ppm, expected)


@every_solver
def test_zero_field_gives_a_zero_map(name, synthetic):
    problem = synthetic.problem(field_ppm=np.zeros_like(synthetic.field))
    result = quick(name).solve(problem)
    assert_sound(result, problem, name)
    assert np.abs(result.susceptibility_ppm).max() < 1e-12


@every_solver
def test_obeys_its_scaling_law(name, synthetic):
    power = SCALING_POWER[name]  # a new solver states its law at the top of this file
    if power is None:
        pytest.skip("obeys none")
    factor = 4.0
    solver = quick(name).resolved(synthetic.problem())
    expected = solver.solve(synthetic.problem()).susceptibility_ppm
    main = solver.main_parameter()
    value = main.kind(getattr(solver, main.name) * factor**power)
    scaled = synthetic.problem(field_ppm=factor * synthetic.field, echo_times_s=(0.020 / factor,))
    found = solver.with_regularisation(value).solve(scaled).susceptibility_ppm
    assert relative_error(found / factor, expected) < 1e-4


@every_solver
def test_the_default_follows_field_and_voxel_size(name, synthetic, usual):
    """Without noise or with it, in any unit: the same picture, in finer or coarser voxels, has the same map."""
    solver = quick(name)
    expected = usual(name).susceptibility_ppm
    for factor in (0.05, 7.0):
        size = tuple(factor * edge for edge in synthetic.grid.voxel_size_mm)
        grid = Grid(synthetic.grid.shape, size, synthetic.grid.b0_direction)
        found = solver.solve(synthetic.problem(grid=grid)).susceptibility_ppm
        assert relative_error(found, expected) < 2e-3, f"voxels {factor} times as large"
        if solver.default_rule:
            scaled = synthetic.problem(field_ppm=factor * synthetic.field, echo_times_s=(0.020 / factor,))
            found = solver.solve(scaled).susceptibility_ppm
            assert relative_error(found / factor, expected) < 2e-3, f"field {factor} times as large"


def test_a_given_weight_stays_that_number(synthetic):
    problem = synthetic.problem()
    solver = registry.make_solver("tv", regularisation_weight=3e-4)
    assert solver.resolved(problem) is solver
    result = solver.solve(problem)
    assert result.parameters["regularisation_weight"] == 3e-4
    assert "default_from" not in result.details
    followed = registry.make_solver("tv").solve(problem)
    again = registry.make_solver("tv", regularisation_weight=followed.parameters["regularisation_weight"])
    assert np.array_equal(again.solve(problem).susceptibility_ppm, followed.susceptibility_ppm)
    assert followed.details["field_error_ppm"] > 0
    with pytest.raises(ParameterError, match="follows the data"):
        registry.make_solver("tv").main_value()


@every_solver
def test_a_constant_in_the_field_changes_nothing(name, synthetic, usual):
    """A frequency offset means nothing; 0.05 ppm is as much as the field itself."""
    expected = usual(name)
    found = quick(name).solve(synthetic.problem(field_ppm=synthetic.field + np.float32(0.05)))
    assert relative_error(found.susceptibility_ppm, expected.susceptibility_ppm) < 1e-3
    constants = [result.details["field_constant_ppm"] for result in (expected, found)]
    assert constants[1] - constants[0] == pytest.approx(0.05, abs=1e-6)
    if expected.fitted_field_ppm is not None:  # where the constant is again
        grown = (found.fitted_field_ppm - expected.fitted_field_ppm)[synthetic.mask]
        assert np.allclose(grown, 0.05, atol=1e-4)


@every_solver
def test_changing_the_sign_of_the_field_changes_that_of_the_map(name, synthetic, usual):
    if name in LEARNED:
        pytest.skip("was trained on heads, whose veins have one sign")
    expected = usual(name).susceptibility_ppm
    found = quick(name).solve(synthetic.problem(field_ppm=-synthetic.field)).susceptibility_ppm
    assert relative_error(-found, expected) < 1e-5


@every_solver
@pytest.mark.parametrize("axes", [(2, 0, 1), (1, 0, 2)])
def test_permuted_axes_give_the_permuted_map(name, axes, synthetic, usual):
    permute = lambda values: tuple(values[a] for a in axes)  # noqa: E731
    grid = synthetic.grid
    grid = Grid(permute(grid.shape), permute(grid.voxel_size_mm), permute(grid.b0_direction))
    images = {"field_ppm": synthetic.field, "mask": synthetic.mask, "magnitude": synthetic.magnitude}
    problem = synthetic.problem(grid=grid, **{key: image.transpose(axes) for key, image in images.items()})
    expected = usual(name).susceptibility_ppm
    assert relative_error(quick(name).solve(problem).susceptibility_ppm, expected.transpose(axes)) < 1e-3


@every_solver
def test_is_repeatable_and_leaves_its_input_alone(name, synthetic):
    problem = synthetic.problem()
    before = [image.copy() for image in (problem.field_ppm, problem.mask, problem.magnitude)]
    first, second = (quick(name).solve(problem).susceptibility_ppm for _ in range(2))
    assert np.array_equal(first, second)
    for image, copy in zip((problem.field_ppm, problem.mask, problem.magnitude), before, strict=True):
        assert np.array_equal(image, copy)


@every_solver
def test_does_not_depend_on_the_number_of_threads(name, synthetic, threads):
    results = []
    for count in (1, 2, 5):
        threads(count)
        results.append(quick(name).solve(synthetic.problem()).susceptibility_ppm)
    for found in results[1:]:
        assert relative_error(found, results[0]) < 1e-4


@every_solver
def test_runs_without_pyfftw(name, synthetic, without_pyfftw):
    found = quick(name).solve(synthetic.problem()).susceptibility_ppm
    assert np.isfinite(found).all()
    assert np.corrcoef(synthetic.truth[synthetic.mask], found[synthetic.mask])[0, 1] > 0.8


@every_solver
def test_single_and_double_precision_agree(name, synthetic):
    if "precision" not in registry.find_solver(name).declared():
        pytest.skip("has one precision only")
    single, double = (
        quick(name, precision=precision).solve(synthetic.problem()).susceptibility_ppm
        for precision in ("single", "double")
    )
    assert relative_error(single, double) < 1e-3
    assert not np.array_equal(single, double)


@every_solver
def test_says_whether_it_expects_a_local_field(name, synthetic):
    x, y, z = np.ix_(*[np.linspace(-1, 1, n) for n in synthetic.field.shape])
    total = (synthetic.field + 3 * x * y - 2 * z + 4 * (x**2 - z**2)).astype(np.float32)
    solver = quick(name)
    problem = synthetic.problem(field_ppm=total, field_kind="total")
    assert solver.takes_total_field() != solver.expects_local_field
    if solver.takes_total_field():
        assert solver.check_field(problem) is None
        return
    with pytest.raises(DataError, match=f"'{name}' expects a local one; remove the background"):
        solver.solve(problem)


# ---- what iterative ones share ----


@every_iterative_solver
def test_tells_the_callback_and_obeys_it(name, synthetic):
    states = []

    def stop_at_three(state):
        states.append(state)
        return state.iteration < 3

    result = quick(name).solve(synthetic.problem(), callback=stop_at_three)
    assert_sound(result, synthetic.problem(), name)
    assert all(isinstance(state, IterationState) for state in states)
    assert len(states) == 3
    assert not result.converged
    assert "callback" in result.stop_reason


@every_iterative_solver
def test_says_that_it_did_not_converge(name, synthetic):
    key = next((key for key in registry.find_solver(name).declared() if key == "max_iterations"), None)
    if key is None:
        pytest.skip("has no iteration limit")
    result = quick(name, max_iterations=2).solve(synthetic.problem())
    assert not result.converged
    assert "limit" in result.stop_reason


@every_iterative_solver
def test_starts_from_a_given_map_of_the_right_shape(name, synthetic, usual):
    problem = synthetic.problem()
    start = usual(name).susceptibility_ppm
    if name in WITHOUT_START:
        with pytest.raises(ParameterError, match=r"start_ppm: .* leave it out"):
            quick(name).solve(problem, start_ppm=start)
        return
    assert_sound(quick(name).solve(problem, start_ppm=start), problem, name)
    with pytest.raises(ParameterError, match="start_ppm: expected shape"):
        quick(name).solve(problem, start_ppm=start[1:])


@pytest.mark.parametrize("name", with_extras(sorted(set(NAMES) - set(ITERATIVE))))
def test_closed_form_takes_no_start(name, synthetic):
    with pytest.raises(ParameterError, match="closed form"):
        quick(name).solve(synthetic.problem(), start_ppm=synthetic.truth)
    result = quick(name).solve(synthetic.problem())
    assert result.converged
    assert result.iterations == 0
