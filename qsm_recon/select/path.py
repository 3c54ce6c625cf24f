"""Reconstructions along a parameter, from strong to weak regularisation."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import DataError, ParameterError, did_you_mean
from qsm_recon.problem import Problem
from qsm_recon.result import Callback, IterationState, StopReason, heed
from qsm_recon.select.costs import SettledCosts, costs
from qsm_recon.select.frequency import Bands
from qsm_recon.select.misfit import NoiseMisfit
from qsm_recon.select.risk import RiskProbe, SpectralMisfit
from qsm_recon.solvers.base import Solver

logger = logging.getLogger(__name__)

STRONGEST, WEAKEST = 20.0, 0.04
"""Ends of the usual sweep, as multiples of a parameter's default."""
COST_TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class PathPoint:
    """One reconstruction of a sweep.

    Parameters
    ----------
    value
        Of the parameter.
    data_cost, regularisation_cost
        See :class:`qsm_recon.select.curve.Curve`.
    noise_measured
        Whether the noise was measured, not estimated from the field itself.
    noise_cost
        Fidelity of the noise alone; None where the solver cannot tell.
    band_means
        See :class:`qsm_recon.select.frequency.Bands`.
    influence
        Of a closed form, see :class:`qsm_recon.select.curve.Curve`.
    step_from, step
        Value of the point before it in the sweep, and the norm of the difference between the two maps in ppm; None for
        the first.
    iterations
        Number of iterations.
    settled
        Whether the costs had settled, or the solver's own stopping rule was met.
    stop_reason
        Why it stopped, in words.
    seconds
        It took.
    susceptibility_ppm
        (nx, ny, nz) the map.
    mask
        (nx, ny, nz) voxels that it covers.
    spectral
        What its residual tells of the error of the map; None where the solver does not tell what field it fitted.
    """

    value: float
    data_cost: float
    regularisation_cost: float
    noise_cost: float | None
    band_means: tuple[float, float, float]
    influence: float | None
    step_from: float | None
    step: float | None
    iterations: int
    settled: bool
    stop_reason: str
    seconds: float
    susceptibility_ppm: NDArray[np.float32]
    mask: NDArray[np.bool_]
    noise_measured: bool = True
    spectral: SpectralMisfit | None = None


class Path:
    """Sweeps of one problem.

    Parameters
    ----------
    solver
        The method with all its other parameters.
    problem
        The measurement.
    parameter
        Name of the parameter that is varied; the main one where None.

    Raises
    ------
    ParameterError
        If the parameter is unknown or not a number.
    DataError
        If the field does not vary, or the problem says that it is total, and the method expects a local one.
    """

    def __init__(
        self,
        solver: Solver,
        problem: Problem,
        parameter: str | None = None,
    ) -> None:
        self._solver = solver
        self._problem = problem
        self.parameter = parameter or solver.main_parameter().name
        require_number(solver, self.parameter)
        require_variation(problem)
        found = solver.check_field(problem)
        if found is not None:
            logger.warning("%s expects a local field: %s", solver.name, found)
        self._bands: Bands | None = None
        self._probe = RiskProbe(problem)
        self._misfit = NoiseMisfit(problem)

    def sweep(
        self,
        values: Iterable[float],
        start: tuple[float, NDArray] | None = None,
        progress: Callable[[float, IterationState], Any] | None = None,
    ) -> Iterator[PathPoint]:
        """Reconstruct for each value in turn, each from where the one before ended.

        Parameters
        ----------
        values
            From strong to weak regularisation.
        start
            Value and map (nx, ny, nz) of a point to start the first from.  Where runs go on from more than a map, that
            point is run once more, so that the others begin with its state, as they would in a longer sweep.
        progress
            Called with the value and the state after every iteration.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, with the point in hand left out.
        """
        series = self._solver.series(self._problem)
        self._probe.begin(None if start is None else replace(self._solver, **{self.parameter: start[0]}))
        before = start
        if start is not None and series.keeps_state:
            monitor = SettledCosts(COST_TOLERANCE, _following(progress, start[0]))
            again = series.solve(replace(self._solver, **{self.parameter: start[0]}), monitor, start[1])
            heed(again.stop_reason)
        for value in values:
            solver = replace(self._solver, **{self.parameter: value})
            monitor = SettledCosts.of(solver, series, COST_TOLERANCE, _following(progress, value))
            began = time.perf_counter()
            result = series.solve(solver, monitor, None if start is None else start[1])
            heed(result.stop_reason)
            if self._bands is None:
                self._bands = Bands(self._problem.grid)
            data_cost, regularisation_cost = costs(result)
            yield PathPoint(
                value=float(value),
                data_cost=data_cost,
                regularisation_cost=regularisation_cost,
                noise_cost=self._misfit.of_noise(solver, result),
                band_means=self._bands.means(result.susceptibility_ppm),
                influence=result.details.get("point_spread_amplitude"),
                step_from=None if before is None else before[0],
                step=None if before is None else _distance(result.susceptibility_ppm, before[1], result.mask),
                iterations=result.iterations,
                settled=result.converged or monitor.settled,
                stop_reason=StopReason.COSTS if monitor.settled and not result.converged else result.stop_reason,
                seconds=time.perf_counter() - began,
                susceptibility_ppm=result.susceptibility_ppm,
                mask=result.mask,
                noise_measured=self._misfit.noise_measured,
                spectral=self._probe.misfit(solver, result),
            )
            before = float(value), result.susceptibility_ppm


def _following(progress: Callable[[float, IterationState], Any] | None, value: float) -> Callback | None:
    """What tells of the iterations of a value; false values veto as they do for a solver."""
    return None if progress is None else lambda state: progress(value, state)


def _distance(first: NDArray, second: NDArray, mask: NDArray[np.bool_]) -> float:
    """Norm of the difference of two maps in a mask, whatever their zero points."""
    difference = first[mask].astype(np.float64) - second[mask]
    return float(np.linalg.norm(difference - difference.mean()))


def require_variation(problem: Problem) -> None:
    """Refuse a field that is the same in all of the mask: its maps are zero, and nothing tells them apart.

    Parameters
    ----------
    problem
        One data set of a sweep.

    Raises
    ------
    DataError
        If there is no variation beyond rounding.
    """
    inside = problem.field_ppm[problem.mask]
    low, high = float(inside.min()), float(inside.max())
    if high - low <= 4 * float(np.finfo(inside.dtype).eps) * max(abs(low), abs(high)):
        raise DataError(
            f"field_ppm: no variation inside the mask, the field is {low:g} ppm in all of its {inside.size} voxels; a "
            "sweep has nothing to choose by: expected a measured field, check the field map, its unit and the mask",
            argument="field_ppm",
        )


def require_number(solver: Solver | type[Solver], parameter: str) -> None:
    """Check that a solver, or class of solvers, has a numerical parameter of that name.

    Raises
    ------
    ParameterError
        If it has not.
    """
    declared = solver.declared()
    if parameter not in declared:
        raise ParameterError(f"'{solver.name}' has no parameter '{parameter}'{did_you_mean(parameter, declared)}")
    if declared[parameter].kind is not float:
        numbers = [name for name, item in declared.items() if item.kind is float]
        advice = f"sweep one of {', '.join(numbers)}" if numbers else "it has none, so that nothing can be swept"
        raise ParameterError(f"'{parameter}' of '{solver.name}' is not a real number; {advice}")


def sweep_values(
    solver: Solver,
    parameter: str | None = None,
    count: int = 15,
    strongest: float | None = None,
    weakest: float | None = None,
) -> list[float]:
    """Values from strong to weak, evenly spaced in the logarithm and rounded to four digits.

    Parameters
    ----------
    solver
        Gives the parameter's default and range.
    parameter
        Its name; the main one where None.
    count
        Number of values.
    strongest, weakest
        ends; by default 20 and 1/25 times the default, within the declared range.

    Raises
    ------
    ParameterError
        If the ends do not fit, or the parameter has no default to start from.
    """
    name = parameter or solver.main_parameter().name
    require_number(solver, name)
    declared = solver.declared()[name]
    default = getattr(solver, name) if declared.default is None else declared.default
    if not default and (strongest is None or weakest is None):
        raise ParameterError(f"'{name}' has no positive default; give both ends of the sweep")
    strongest = _within(STRONGEST * default, declared.low, declared.high) if strongest is None else strongest
    weakest = _within(WEAKEST * default, declared.low, declared.high) if weakest is None else weakest
    if not 0 < weakest < strongest or count < 2:
        raise ParameterError(
            f"sweep of '{name}': expected two or more points from a larger to a smaller positive value, "
            f"found {count} from {strongest:g} to {weakest:g}"
        )
    values = [float(f"{value:.4g}") for value in np.geomspace(strongest, weakest, count)]
    for value in (values[0], values[-1]):
        declared.check(value)
    return values


def _within(value: float, low: float | None, high: float | None) -> float:
    return float(min(max(value, -np.inf if low is None else low), np.inf if high is None else high))
