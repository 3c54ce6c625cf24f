"""Costs of reconstructions, and when they have settled."""

from __future__ import annotations

import math

from qsm_recon.errors import ParameterError
from qsm_recon.result import Callback, IterationState, Reconstruction
from qsm_recon.solvers.base import Series, Solver

COSTS = ("fidelity", "regularisation")
WINDOW = 10
"""Iterations over which costs must have settled."""


def costs(result: Reconstruction) -> tuple[float, float]:
    """Fidelity and regularisation of a reconstruction, as its solver minimised them, before masking.

    Raises
    ------
    ParameterError
        If the solver reports none.
    """
    values = [result.history[name][-1] if result.history.get(name) else result.details.get(name) for name in COSTS]
    data, regularisation = values
    if data is None or regularisation is None:
        raise ParameterError(
            f"'{result.solver}' does not report its fidelity and regularisation; no curve to choose on"
        )
    return float(data), float(regularisation)


class SettledCosts:
    """A callback that stops a solver once its costs have settled.

    Parameters
    ----------
    tolerance
        Relative change of either cost over ``window`` iterations to stop at; never where negative.  Costs converge
        about geometrically, so that no more than about as much is left.  Iterations on another function do not count.
    follow
        Called with every state as well.
    window
        Iterations.
    """

    def __init__(self, tolerance: float, follow: Callback | None = None, window: int = WINDOW) -> None:
        self._tolerance = tolerance
        self._window = window
        self._follow = follow
        self._logs: list[tuple[float, float]] = []
        self.settled = False

    @classmethod
    def of(cls, solver: Solver, series: Series, tolerance: float, follow: Callback | None = None) -> SettledCosts:
        """For runs of a series: where their result depends on where they stop, the solver's own rule alone holds."""
        return cls(tolerance if solver.warm_starts or series.keeps_state else -1.0, follow)

    def __call__(self, state: IterationState) -> bool:
        """Return whether to go on."""
        go_on = self._follow is None or self._follow(state) is not False
        if state.provisional:
            self._logs.clear()
            return go_on
        values = [state.values.get(name, 0.0) for name in COSTS]
        if min(values) > 0:
            self._logs.append((math.log(values[0]), math.log(values[1])))
        if len(self._logs) > self._window:
            now, before = self._logs[-1], self._logs[-1 - self._window]
            self.settled = max(abs(a - b) for a, b in zip(now, before, strict=True)) <= self._tolerance
        return go_on and not self.settled
