"""Search for the weight with the smallest error, the truth in hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from qsm_recon.errors import ParameterError
from qsm_recon.problem import Problem
from qsm_recon.result import Reconstruction
from qsm_recon.solvers.base import Solver

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

    Each point starts from the one before it, where the method allows that.

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

    Raises
    ------
    ParameterError
        If no reconstruction has a finite error.
    """
    found = Search()
    declared = solver.main_parameter()
    series = solver.series(problem)

    def at(value: float) -> float:
        value = float(f"{value:.6g}")
        inside = (declared.high is None or value <= declared.high) and (declared.low is None or value >= declared.low)
        if not inside or len(found.tried) >= MOST_POINTS:
            return math.inf
        if value not in found.tried:
            found.tried[value] = error(series.solve(solver.with_regularisation(value)))
        return found.tried[value]

    start = float(f"{solver.resolved(problem).main_value():.6g}")
    at(start)
    for factor in (step, 1 / step):
        value = start
        while at(value * factor) < at(value):
            value *= factor
        if value != start:
            break
    if not math.isfinite(found.best_error):
        raise ParameterError(f"{solver.name}: no finite error at any {declared.name} tried")
    return found
