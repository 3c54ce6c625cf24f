"""Series of solves by a composition, each of which goes on from the whole state of the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from qsm_recon.engines.admm import ADMM
from qsm_recon.engines.loop import Outcome
from qsm_recon.errors import ParameterError
from qsm_recon.problem import Problem
from qsm_recon.region import Region
from qsm_recon.result import Callback, Reconstruction
from qsm_recon.solvers.base import Series, Solution, Solver
from qsm_recon.solvers.composition import Composed, CompositionRun
from qsm_recon.solvers.constant_field import with_constant, without_constant


@dataclass(eq=False)
class Continued:
    """What a series goes on from: the last solver, its run and engine, and what its report said beside them."""

    solver: Solver
    run: CompositionRun
    engine: ADMM
    details: dict[str, Any]

    def ended(self, outcome: Outcome) -> Solution:
        """Wrap up an outcome."""
        return self.run.solution(outcome, self.details)


class ContinuedSeries(Series):
    """A series in which each run goes on from the whole state of the one before: splittings, duals and buffers.

    That holds as long as nothing but the regularisation weight changes; else the run starts from the last map.
    """

    keeps_state: ClassVar[bool] = True
    large_steps: ClassVar[bool] = False
    """Whether another weight begins with steps as large as from nothing, as small ones hardly move strong sources."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(without_constant(problem))
        self._constant_ppm = self._problem.field_offset_ppm - problem.field_offset_ppm
        self._region = Region.whole(problem.grid.shape)
        self._part = problem
        self._state: Continued | None = None

    def _solve(self, solver: Solver, callback: Callback | None, start_ppm: NDArray | None) -> Reconstruction:
        state, alpha = self._state, solver.main_value()
        if state is not None and state.solver.with_regularisation(alpha) == solver:
            found = self._go_on(state, solver, callback)
        else:
            state = self._state = None  # frees buffers before there are others
            self._region = solver.region(self._problem)
            self._part = self._region.cut_problem(self._problem)
            found = self._begin(solver, callback, None if start_ppm is None else self._region.cut(start_ppm))
        result = solver.reconstruction(self._part, found)
        return with_constant(self._region.embed_result(result), self._constant_ppm)

    def _begin(self, solver: Solver, callback: Callback | None, start_ppm: NDArray | None) -> Solution:
        """Solve for the first time, or with other parameters, in a new region; from a map of it if one is given."""
        return self._minimise(solver, None, {}, callback, start_ppm)

    def _minimise(
        self,
        solver: Solver,
        weight: NDArray | None,
        details: dict[str, Any],
        callback: Callback | None,
        start_ppm: NDArray | None,
        *,
        rough: bool = False,
    ) -> Solution:
        """Solve with a data weight (nx, ny, nz), the solver's own where None, and keep the state."""
        composed = self._composed(solver)
        run = CompositionRun(composed, self._part, composed.composition())
        engine = run.begin(solver.main_value(), weight, start_ppm)
        state = Continued(solver, run, engine, details or {"weighting": run.weight_origin})
        found = state.ended(engine.run(None, callback, rough=rough))
        self._state = state
        return found

    def _go_on(self, state: Continued, solver: Solver, callback: Callback | None) -> Solution:
        """Solve from the state that the run before left, whose solver had another regularisation weight."""
        factor = solver.main_value() / state.solver.main_value()
        state.solver = solver
        return state.ended(state.engine.run_on(factor, callback, rough=self.large_steps))

    @staticmethod
    def _composed(solver: Solver) -> Composed:
        if not isinstance(solver, Composed):
            raise ParameterError(f"a series on the ADMM engine takes no '{solver.name}'")
        return solver
