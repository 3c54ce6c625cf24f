"""Iterations of every engine: a solver that stands for it, and a fixed number of them."""

from __future__ import annotations

from .inputs import small_problem
from .representatives import REPRESENTATIVES


class Engine:
    """Twenty iterations or so, compiled and planned before."""

    params = tuple(REPRESENTATIVES)
    param_names = ("solver",)

    def setup(self, solver: str) -> None:
        """Make the problem, and compile."""
        from qsm_recon import make_solver

        self.problem = small_problem()
        self.solver = make_solver(solver, **REPRESENTATIVES[solver].parameters)
        self.solver.solve(self.problem, callback=lambda _state: False)

    def time_iterations(self, _solver: str) -> None:
        """Solve."""
        self.solver.solve(self.problem)

    def peakmem_iterations(self, _solver: str) -> None:
        """Memory of the process, interpreter and libraries with it."""
        self.solver.solve(self.problem)
