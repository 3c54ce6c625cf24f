"""Search for the regularisation weight with the smallest error: for tables "best over the weight", truth in hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from qsm_recon.datasets.case import Case
from qsm_recon.metrics import Scores, evaluate
from qsm_recon.result import Reconstruction
from qsm_recon.solvers.base import Solver


@dataclass
class Search:
    """What a search tried: the weight, the NRMSE (%) and the reconstruction of the best point."""

    tried: dict[float, float] = field(default_factory=dict)
    best: Reconstruction | None = None
    best_value: float = math.nan
    best_error: float = math.inf

    @property
    def at_edge(self) -> bool:
        """Whether the best value tried is the smallest or largest one."""
        return self.best_value in (min(self.tried), max(self.tried))


def score(case: Case, result: Reconstruction, *, similarity: bool = False, variant: str = "rc2") -> Scores:
    """Metrics of a reconstruction in the case's evaluation mask."""
    truth = case.truth
    if truth is None:
        raise ValueError(f"{case.name} has no truth")
    return evaluate(
        result.susceptibility_ppm,
        truth.susceptibility_ppm,
        case.evaluation_mask,
        truth.labels,
        variant=variant,  # type: ignore[arg-type]
        calcification_moment=truth.calcification_moment,
        similarity=similarity,
    )


def best_over_weight(
    solver: Solver, case: Case, *, step: float = 1.6, refinements: int = 0, report: Callable[[str], Any] = print
) -> Search:
    """Walk the main parameter downhill from its default in factors of ``step``, then halve the step in logarithm.

    Each point starts from the one before it, where the method allows that; the best is computed once more from nothing,
    so that its iterations and seconds are those that a user sees.

    Parameters
    ----------
    solver
        Start of the search; all its other parameters stay.
    case
        Data with a truth.
    step
        First factor between neighbours.
    refinements
        How often the factor's logarithm is halved around the best value.
    report
        Told of every point.
    """
    found = Search()
    declared = solver.main_parameter()
    series = solver.series(case.problem)

    def error(value: float) -> float:
        if declared.high is not None and value > declared.high:
            return math.inf
        if value not in found.tried:
            result = series.solve(solver.with_regularisation(value))
            nrmse = score(case, result).values["nrmse"]
            found.tried[value] = math.inf if nrmse is None else nrmse
            report(
                f"  {solver.name} {case.name} {declared.name}={value:.4g}: NRMSE {found.tried[value]:.2f}, "
                f"{result.iterations} iterations, {result.timings_s['solve']:.1f} s"
            )
            if found.tried[value] < found.best_error:
                found.best, found.best_value, found.best_error = result, value, found.tried[value]
        return found.tried[value]

    start = solver.resolved(case.problem).main_value()
    error(start)
    for direction in (step, 1 / step):
        value = start
        while error(value * direction) < error(value):
            value *= direction
        if value != start:
            break
    for _ in range(refinements):
        step = math.sqrt(step)
        middle = found.best_value
        error(middle * step)
        error(middle / step)
    if found.best is not None and found.best_value != next(iter(found.tried)):
        found.best = solver.with_regularisation(found.best_value).solve(case.problem)
        nrmse = score(case, found.best).values["nrmse"]
        found.best_error = math.inf if nrmse is None else nrmse
    return found
