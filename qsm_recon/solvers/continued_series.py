"""A series of solves on the ADMM engine, which keeps its state from one regularisation weight to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from numpy.typing import NDArray

from qsm_recon.engines.admm import ADMM
from qsm_recon.errors import ParameterError
from qsm_recon.problem import Problem
from qsm_recon.region import Region
from qsm_recon.result import Callback, Reconstruction
from qsm_recon.solvers.base import Solver
from qsm_recon.solvers.constant_field import with_constant, without_constant
from qsm_recon.solvers.series import Series
from qsm_recon.solvers.variational import CompositionRun, VariationalSolver
from qsm_recon.terms.weights import data_weight


class ContinuedSeries(Series):
    """A series in which each run goes on from the whole state of the one before: splittings, duals and buffers.

    That holds as long as nothing but the regularisation weight changes; else the run starts from the last map.
    """

    keeps_state: ClassVar[bool] = True

    def __init__(self, problem: Problem) -> None:
        super().__init__(without_constant(problem))
        self._constant_ppm = self._problem.field_offset_ppm - problem.field_offset_ppm
        self._solver: VariationalSolver | None = None
        self._region = Region.whole(problem.grid.shape)
        self._run: CompositionRun | None = None
        self._engine: ADMM | None = None
        self._details: dict[str, Any] = {}

    def _solve(self, solver: Solver, callback: Callback | None, start_ppm: NDArray | None) -> Reconstruction:
        if not isinstance(solver, VariationalSolver):
            raise ParameterError(f"a series on the ADMM engine takes no '{solver.name}'")
        alpha, last = solver.main_value(), self._solver
        continues = last is not None and replace(last, regularisation_weight=alpha) == solver
        if last is not None and self._run is not None and self._engine is not None and continues:
            outcome = self._engine.run_on(alpha / last.main_value(), callback)
        else:
            self._engine = None  # frees its buffers before there are others
            self._region = solver.region(self._problem)
            problem = self._region.cut_problem(self._problem)
            weight, origin = data_weight(problem, solver.weighting, solver.weight_normalisation)  # type: ignore[arg-type]
            self._details = {"weighting": origin}
            self._run = CompositionRun(solver, problem, solver.composition())
            self._engine = self._run.engine(alpha, weight)
            start = None if start_ppm is None else self._region.cut(start_ppm) * self._run.scale
            outcome = self._engine.run(start, callback)
        self._solver = solver
        result = self._region.embed_result(self._run.reconstruction(outcome, self._details, solver))
        return with_constant(result, self._constant_ppm)
