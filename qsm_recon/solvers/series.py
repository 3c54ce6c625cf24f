"""Solving one problem for several parameter values in turn."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from qsm_recon.problem import Problem
from qsm_recon.result import Callback, Reconstruction

if TYPE_CHECKING:
    from qsm_recon.solvers.base import Solver


class Series:
    """Solves of one problem by one method, each starting from the map that the one before left.

    Closed forms, and methods whose result depends on where they start, start anew each time.

    Parameters
    ----------
    problem
        The measurement.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._last_ppm: NDArray | None = None

    def solve(
        self, solver: Solver, callback: Callback | None = None, start_ppm: NDArray | None = None
    ) -> Reconstruction:
        """Reconstruct with other parameter values of the same method.

        Parameters
        ----------
        solver
            The method with its parameters.
        callback
            See :meth:`qsm_recon.solvers.base.Solver.solve`.
        start_ppm
            (nx, ny, nz) map to start the first run from.
        """
        began = time.perf_counter()
        result = self._solve(
            solver.resolved(self._problem), callback, start_ppm if self._last_ppm is None else self._last_ppm
        )
        self._last_ppm = result.susceptibility_ppm
        return replace(result, timings_s={**result.timings_s, "solve": time.perf_counter() - began})

    def _solve(self, solver: Solver, callback: Callback | None, start_ppm: NDArray | None) -> Reconstruction:
        start = start_ppm if solver.iterative and solver.warm_starts else None
        return solver.solve(self._problem, callback=callback, start_ppm=start)
