"""What every solver must do."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.threads import set_thread_count, thread_count
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.operators.grid import Grid
from qsm_recon.parameters import Parameter
from qsm_recon.problem import Problem
from qsm_recon.result import IterationState, Reconstruction
from qsm_recon.solvers.base import Solver
from qsm_recon.testing.laws import Laws, law, require, require_close, require_error
from qsm_recon.testing.measurement import Measurement

FEW = 30
"""Iterations that laws make do with."""


class SolverLaws(Laws):
    """The laws for one solver.

    Parameters
    ----------
    solver
        The class.
    """

    def __init__(self, solver: type[Solver]) -> None:
        self._solver = solver
        self._measured = Measurement()

    def _quick(self, **parameters: Any) -> Solver:
        """Make it such that it does few iterations."""
        few = {
            key: min(declared.default, FEW)
            for key, declared in self._solver.declared().items()
            if "iterations" in key and declared.kind is int and declared.default
        }
        self._solver.require_known(parameters)
        return self._solver(**{**few, **parameters})

    def _map(self, **changes: Any) -> NDArray[np.float32]:
        return self._quick().solve(self._measured.problem(**changes)).susceptibility_ppm

    @cached_property
    def _usual(self) -> Reconstruction:
        """What it makes of the unchanged measurement; that it is repeatable is a law below."""
        return self._quick().solve(self._measured.problem())

    # ---- what it says of itself ----

    @law
    def describes_itself(self) -> None:
        """A name, a title of one line, a citation with a DOI, a docstring, an estimate of its memory."""
        solver = self._solver
        require(solver.name == solver.name.lower() and solver.name, f"name: '{solver.name}' is not in lower case")
        require(len(solver.title) > 3 and "\n" not in solver.title, f"title: '{solver.title}' is not one line")
        require("doi 10." in solver.citation, f"citation: no 'doi 10.' in '{solver.citation}'")
        require(solver.__doc__, "it has no docstring")
        require(self._quick().memory_volumes() > 0, "memory_volumes is not positive")

    @law
    def has_one_main_parameter(self) -> None:
        """A number, which can be changed; with a rule where its default follows the data."""
        solver = self._solver
        number = sum(declared.main for declared in solver.declared().values())
        require(number == 1, f"expected one parameter with main=True, found {number}")
        main = solver.main_parameter()
        require(main.kind in (float, int), f"the main parameter '{main.name}' is no number")
        follows = main.default is None
        require(
            follows == bool(solver.default_rule), f"'{main.name}' has a default, or default_rule says how it is found"
        )
        value = main.kind(0.03 if follows else 2 * main.default)
        changed = self._quick().with_regularisation(value)
        require(changed.parameters()[main.name] == changed.main_value() == value, f"'{main.name}' cannot be changed")
        back = dataclasses.replace(changed, **{main.name: main.default})
        require(back == self._quick(), "with_regularisation changes something else as well")

    @law
    def declares_unit_help_and_range_of_every_parameter(self) -> None:
        """And defaults that are within their ranges."""
        for name, declared in self._solver.declared().items():
            require(declared.unit, f"'{name}' has no unit")
            require(len(declared.help) > 5 and "\n" not in declared.help, f"'{name}' has no help of one line")
            require(declared.kind in (float, int, bool, str), f"'{name}' is of kind {declared.kind}")
            require(declared.describe_range(), f"'{name}' does not describe its range")
            declared.check(declared.default)
            if declared.kind in (float, int):
                require(declared.low is not None or declared.high is not None, f"'{name}' has no range")
            if declared.kind is str:
                require(declared.default in declared.choices, f"'{name}': its default is none of its choices")

    @law
    def refuses_values_out_of_range(self) -> None:
        """With an error that names the parameter."""
        for name, declared in self._solver.declared().items():
            for value in _bad(declared):
                require_error(ParameterError, name, lambda n=name, v=value: self._solver(**{n: v}))  # type: ignore[misc]

    @law
    def refuses_unknown_parameters_with_the_near_match(self) -> None:
        """As every method does."""
        main = self._solver.main_parameter().name
        text = f"no parameter '{main}s'; did you mean '{main}'"
        require_error(ParameterError, text, lambda: self._solver.require_known({main + "s": 1.0}))

    @law
    def is_immutable(self) -> None:
        """A frozen dataclass."""
        main, solver = self._solver.main_parameter().name, self._quick()
        require_error(dataclasses.FrozenInstanceError, main, lambda: setattr(solver, main, 1.0))

    # ---- what it computes ----

    def _sound(self, result: Reconstruction, problem: Problem) -> None:
        chi = result.susceptibility_ppm
        require(chi.shape == problem.grid.shape, f"the map has shape {chi.shape}, the field {problem.grid.shape}")
        require(chi.dtype == np.float32, f"the map is {chi.dtype}, not float32")
        require(np.isfinite(chi).all(), "the map is not finite")
        require(not chi[~problem.mask].any(), "the map is not zero outside the mask")
        require(result.solver == self._solver.name, f"the result names solver '{result.solver}'")
        require(result.stop_reason, "the result does not say why it stopped")
        require(result.timings_s["solve"] > 0, "the result does not say how long it took")
        for name, values in result.history.items():
            require(len(values) == result.iterations, f"history of {name}: {len(values)} for {result.iterations}")
            require(np.isfinite(values).all(), f"history of {name} is not finite")

    @law
    def finds_the_susceptibility_of_an_oblique_odd_sized_case(self) -> None:
        """Roughly: a wrong kernel, unit, sign or axis does not."""
        problem, solver, result = self._measured.problem(), self._quick(), self._usual
        self._sound(result, problem)
        require(result.parameters == solver.resolved(problem).parameters(), "the result tells other parameters")
        require(result.parameters[solver.main_parameter().name] > 0, "the main parameter is not positive")
        require(
            (result.iterations > 0) == solver.iterative, f"{result.iterations} iterations, iterative={solver.iterative}"
        )
        truth, found = self._measured.truth[problem.mask], result.susceptibility_ppm[problem.mask]
        correlation = float(np.corrcoef(truth, found)[0, 1])
        require(correlation > 0.8, f"correlation with the truth: expected above 0.8, found {correlation:.3f}")
        require_close(found - found.mean(), truth - truth.mean(), 0.75, "distance from the truth")

    @law
    def ignores_the_field_outside_the_mask(self) -> None:
        """Whatever is there."""
        outside = np.where(self._measured.mask, self._measured.field, np.float32(17.0))
        require(np.array_equal(self._map(field_ppm=outside), self._usual.susceptibility_ppm), "the map is another")

    @law
    def zero_field_gives_a_zero_map(self) -> None:
        """And divides by nothing."""
        problem = self._measured.problem(field_ppm=np.zeros_like(self._measured.field))
        result = self._quick().solve(problem)
        self._sound(result, problem)
        largest = float(np.abs(result.susceptibility_ppm).max())
        require(largest < 1e-12, f"expected zero, found {largest:g} ppm")

    @law
    def obeys_its_scaling_law(self) -> None:
        """See :attr:`qsm_recon.solvers.base.Solver.scaling_power`."""
        power, factor, problem = self._solver.scaling_power, 4.0, self._measured.problem()
        if power is None:
            return
        solver = self._quick().resolved(problem)
        expected = solver.solve(problem).susceptibility_ppm
        scaled = self._measured.problem(field_ppm=factor * self._measured.field, echo_times_s=(0.020 / factor,))
        value = solver.main_parameter().kind(solver.main_value() * factor**power)
        found = solver.with_regularisation(value).solve(scaled).susceptibility_ppm
        require_close(found / factor, expected, 1e-4, f"four times the field, four times the map (power {power})")

    @law
    def its_default_follows_field_and_voxel_size(self) -> None:
        """In any unit: the same picture, in finer or coarser voxels, has the same map."""
        expected, grid = self._usual.susceptibility_ppm, self._measured.grid
        for factor in (0.05, 7.0):
            size = tuple(factor * edge for edge in grid.voxel_size_mm)
            other = Grid(grid.shape, size, grid.b0_direction)  # type: ignore[arg-type]
            require_close(self._map(grid=other), expected, 2e-3, f"voxels {factor} times as large")
            if self._solver.default_rule:
                found = self._map(field_ppm=factor * self._measured.field, echo_times_s=(0.020 / factor,))
                require_close(found / factor, expected, 2e-3, f"field {factor} times as large")

    @law
    def a_constant_in_the_field_changes_nothing(self) -> None:
        """A frequency offset means nothing; 0.05 ppm is as much as the field itself."""
        expected = self._usual
        found = self._quick().solve(self._measured.problem(field_ppm=self._measured.field + np.float32(0.05)))
        require_close(found.susceptibility_ppm, expected.susceptibility_ppm, 1e-3, "field with a constant")
        grown = found.details["field_constant_ppm"] - expected.details["field_constant_ppm"]
        require(abs(grown - 0.05) <= 1e-6, f"details tell a constant that is {grown:g} ppm larger, not 0.05")
        if expected.fitted_field_ppm is not None and found.fitted_field_ppm is not None:  # where the constant is again
            fitted = (found.fitted_field_ppm - expected.fitted_field_ppm)[self._measured.mask]
            require(np.allclose(fitted, 0.05, atol=1e-4), "the constant is not in the fitted field")

    @law
    def changing_the_sign_of_the_field_changes_that_of_the_map(self) -> None:
        """Nothing prefers positive susceptibility, where the class says so."""
        if not self._solver.odd:
            return
        require_close(-self._map(field_ppm=-self._measured.field), self._usual.susceptibility_ppm, 1e-5, "sign changed")

    @law
    def permuted_axes_give_the_permuted_map(self) -> None:
        """Nothing prefers an axis of the array."""
        measured = self._measured
        for axes in ((2, 0, 1), (1, 0, 2)):
            grid = Grid(*(_permuted(part, axes) for part in _parts(measured.grid)))  # type: ignore[arg-type]
            images = {"field_ppm": measured.field, "mask": measured.mask, "magnitude": measured.magnitude}
            found = self._map(grid=grid, **{name: image.transpose(axes) for name, image in images.items()})
            require_close(found, self._usual.susceptibility_ppm.transpose(axes), 1e-3, f"axes in the order {axes}")

    @law
    def is_repeatable_and_leaves_its_input_alone(self) -> None:
        """Bit by bit."""
        problem = self._measured.problem()
        images = [problem.field_ppm, problem.mask, problem.magnitude]
        before = [None if image is None else image.copy() for image in images]
        first, second = (self._quick().solve(problem).susceptibility_ppm for _ in range(2))
        require(np.array_equal(first, second), "two runs differ")
        for image, copy in zip(images, before, strict=True):
            same = image is None or copy is None or np.array_equal(image, copy)
            require(same, "the input was changed")

    @law
    def does_not_depend_on_the_number_of_threads(self) -> None:
        """But for rounding."""
        before = thread_count()
        try:
            set_thread_count(1)
            expected = self._map()
            for count in (2, 5):
                set_thread_count(count)
                require_close(self._map(), expected, 1e-4, f"{count} threads")
        finally:
            set_thread_count(before)

    @law
    def single_and_double_precision_agree(self) -> None:
        """Where there is a choice, and it is one."""
        if "precision" not in self._solver.declared():
            return
        problem = self._measured.problem()
        single, double = (
            self._quick(precision=precision).solve(problem).susceptibility_ppm for precision in ("single", "double")
        )
        require_close(single, double, 1e-3, "single precision")
        require(not np.array_equal(single, double), "both precisions give the same bits")

    @law
    def says_whether_it_expects_a_local_field(self) -> None:
        """And refuses a total one then."""
        x, y, z = np.ix_(*[np.linspace(-1, 1, n) for n in self._measured.field.shape])
        total = (self._measured.field + 3 * x * y - 2 * z + 4 * (x**2 - z**2)).astype(np.float32)
        solver, problem = self._quick(), self._measured.problem(field_ppm=total, field_kind="total")
        require(solver.takes_total_field() != solver.expects_local_field, "takes_total_field contradicts its class")
        if solver.takes_total_field():
            require(solver.check_field(problem) is None, "it takes total fields, and complains of one")
            return
        text = f"'{solver.name}' expects a local one; remove the background"
        require_error(DataError, text, lambda: solver.solve(problem))

    # ---- what iterative ones share ----

    @law
    def tells_the_callback_and_obeys_it(self) -> None:
        """After every iteration; what it returns then is whole."""
        if not self._solver.iterative:
            return
        states: list[IterationState] = []

        def stop_at_three(state: IterationState) -> bool:
            states.append(state)
            return state.iteration < 3

        result = self._quick().solve(self._measured.problem(), callback=stop_at_three)
        self._sound(result, self._measured.problem())
        require(len(states) == 3, f"the callback vetoed iteration 3 and was called {len(states)} times")
        require(not result.converged, "it says that it converged though it was stopped")
        require("callback" in result.stop_reason, f"stop_reason: '{result.stop_reason}' does not tell of the callback")

    @law
    def says_that_it_did_not_converge(self) -> None:
        """Where there are too few iterations."""
        if "max_iterations" not in self._solver.declared():
            return
        result = self._quick(max_iterations=2).solve(self._measured.problem())
        require(not result.converged, "it says that it converged in two iterations")
        require("limit" in result.stop_reason, f"stop_reason: '{result.stop_reason}' does not tell of the limit")

    @law
    def takes_a_start_of_the_right_shape_if_any(self) -> None:
        """A closed form takes none."""
        problem, start = self._measured.problem(), self._usual.susceptibility_ppm
        if not self._solver.iterative:
            require_error(ParameterError, "closed form", lambda: self._quick().solve(problem, start_ppm=start))
            require(self._usual.converged, "a closed form has always converged")
            return
        if not self._solver.starts_from_map:
            require_error(ParameterError, "start_ppm", lambda: self._quick().solve(problem, start_ppm=start))
            return
        self._sound(self._quick().solve(problem, start_ppm=start), problem)
        text = "start_ppm: expected shape"
        require_error(ParameterError, text, lambda: self._quick().solve(problem, start_ppm=start[1:]))

    @law
    def takes_no_start_that_is_not_finite(self) -> None:
        """What a start holds outside the mask may be anything, as in maps that are masked by NaN."""
        if not self._solver.iterative or not self._solver.starts_from_map:
            return
        problem, start = self._measured.problem(), self._usual.susceptibility_ppm
        masked = np.where(problem.mask, start, np.float32(np.nan))
        self._sound(self._quick().solve(problem, start_ppm=masked), problem)
        unknown = np.full_like(start, np.nan)
        require_error(DataError, "start_ppm: ", lambda: self._quick().solve(problem, start_ppm=unknown))


def _bad(declared: Parameter) -> list[Any]:
    """Values that a parameter must refuse."""
    bad: list[Any] = ["nonsense"] if declared.kind is not bool else ["nonsense", 3]
    if declared.low is not None:
        bad.append(declared.kind(declared.low - 1))
    if declared.high is not None:
        bad.append(declared.kind(declared.high + 1))
    return [*bad, float("nan")] if declared.kind is float else bad


def _parts(grid: Grid) -> tuple[Sequence[float], Sequence[float], Sequence[float]]:
    return grid.shape, grid.voxel_size_mm, grid.b0_direction


def _permuted(values: Sequence[float], axes: tuple[int, ...]) -> tuple[float, ...]:
    return tuple(values[axis] for axis in axes)
