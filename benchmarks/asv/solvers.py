"""Every solver of the package with its defaults, to its end."""

from __future__ import annotations

from .inputs import small_problem

EDGE = 32
FAMILIES = (
    "tkd", "tsvd", "tikhonov", "tv", "fansi", "tgv", "fansi-tgv", "wl1", "l1qsm", "wl1l2", "wh-qsm", "wh-nlqsm", "admm",
    "ndi", "rts", "medi", "tfi", "mctfi", "qsminvnet", "fine",
)  # fmt: skip


class Solver:
    """A whole reconstruction; the number of iterations is the method's own."""

    params = FAMILIES
    param_names = ("solver",)
    timeout = 300

    def setup(self, solver: str) -> None:
        """Make the problem, and compile."""
        from qsm_recon import make_solver
        from qsm_recon.solvers.registry import find_solver

        if find_solver(solver).missing():
            raise NotImplementedError("its extra is not installed")  # asv's word for leaving one out
        self.problem = small_problem(EDGE)
        self.solver = make_solver(solver)
        self.solver.solve(self.problem, callback=lambda _state: False)

    def time_solve(self, _solver: str) -> None:
        """Solve."""
        self.solver.solve(self.problem)

    def peakmem_solve(self, _solver: str) -> None:
        """Memory of the process, interpreter and libraries with it."""
        self.solver.solve(self.problem)
