"""Search for the weight with the smallest error, the truth in hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from qsm_recon.errors import ParameterError
from qsm_recon.problem import Problem
from qsm_recon.result import Reconstruction
from qsm_recon.solvers.base import Series, Solver

STEP = 1.6
MOST_POINTS = 40


@dataclass
class Search:
    """What was tried: weight and error."""

    tried: dict[float, float] = field(default_factory=dict)

    @property
    def best_value(self) -> float:
        """Weight of the smallest error."""
        return min(self.tried, key=self.tried.__getitem__)

    @property
    def best_error(self) -> float:
        """Smallest error."""
        return min(self.tried.values())

    @property
    def at_edge(self) -> bool:
        """Whether the best weight is the smallest or largest that was tried."""
        return self.best_value in (min(self.tried), max(self.tried))


def search_with_truth(
    solver: Solver, problem: Problem, error: Callable[[Reconstruction], float], step: float = STEP
) -> Search:
    """Walk the main parameter downhill from its default in factors of ``step``.

    Where a method can go on from the map of another weight it first does so, which is quick, and the walk is then taken
    up where that ended by solves from nothing: a map that goes on may be far from the one that a user gets.

    Parameters
    ----------
    solver
        Start of the search; all its other parameters stay.
    problem
        The measurement.
    error
        What is to be small.
    step
        Factor between neighbours.

    Returns
    -------
    Search
        The solves that start from nothing.

    Raises
    ------
    ParameterError
        If no reconstruction has a finite error.
    """
    start = float(f"{solver.resolved(problem).main_value():.6g}")
    if solver.iterative and (solver.warm_starts or type(solver.series(problem)) is not Series):
        start = _walk_on(solver, problem, error, start, step).best_value
    found = _walk(lambda value: error(solver.with_regularisation(value).solve(problem)), solver, start, step)
    if not math.isfinite(found.best_error):
        raise ParameterError(f"{solver.name}: no finite error at any {solver.main_parameter().name} tried")
    return found


def _walk_on(
    solver: Solver, problem: Problem, error: Callable[[Reconstruction], float], start: float, step: float
) -> Search:
    """The same with solves that each go on from the one before; their series ends, and its buffers, with this."""
    series = solver.series(problem)
    return _walk(lambda value: error(series.solve(solver.with_regularisation(value))), solver, start, step)


def _walk(error: Callable[[float], float], solver: Solver, start: float, step: float) -> Search:
    """Downhill from a weight, in one direction and, where that is not the way, in the other."""
    found = Search()
    declared = solver.main_parameter()

    def at(value: float) -> float:
        value = float(f"{value:.6g}")
        inside = (declared.high is None or value <= declared.high) and (declared.low is None or value >= declared.low)
        if not inside or len(found.tried) >= MOST_POINTS:
            return math.inf
        if value not in found.tried:
            found.tried[value] = error(value)
        return found.tried[value]

    at(start)
    for factor in (step, 1 / step):
        value = start
        while at(value * factor) < at(value):
            value *= factor
        if value != start:
            break
    return found
