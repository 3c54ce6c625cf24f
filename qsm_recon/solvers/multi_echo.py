"""Multi-echo complex total field inversion (``mctfi``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from qsm_recon.backend.arrays import host
from qsm_recon.engines.loop import Outcome
from qsm_recon.errors import ParameterError
from qsm_recon.problem import Problem
from qsm_recon.result import Callback, provisionally
from qsm_recon.solvers.base import Solution
from qsm_recon.solvers.parameters import parameter
from qsm_recon.solvers.total_field import FieldCase, Outside, TotalFieldSolver
from qsm_recon.terms.echo_model import MultiEchoSignal
from qsm_recon.terms.field_model import WeightedField


@dataclass(frozen=True)
class McTFI(TotalFieldSolver):
    """½ Σ_j |m0 exp(-R2* t_j) exp(i (φ0 + s_j D χ)) - S_j|² + alpha ‖M ∇χ‖₁, unknowns χ, m0, R2* and φ0.

    Starts from a few iterations on the field map.  (US patent application 2023/0320611 covers methods of this kind.)
    """

    name: ClassVar[str] = "mctfi"
    title: ClassVar[str] = "Multi-echo complex total field inversion"
    citation: ClassVar[str] = "Wen et al., Magn Reson Med 86:2165-2178 (2021), doi 10.1002/mrm.28814"
    needs_echoes: ClassVar[bool] = True

    model: str = parameter(
        "reduced", "1", "unknown signal: m0, R2* and phase, or the phase only, with the measured magnitude",
        choices=("full", "reduced"),
    )  # fmt: skip
    field_iterations: int | None = parameter(
        None, "1", "linear outer iterations on the field map that the echoes are started from; by default an inversion "
        "of its own, as tfi does it", low=1, high=1000, kind=int,
    )  # fmt: skip

    def memory_volumes(self) -> float:
        """See :meth:`Solver.memory_volumes`."""
        return 31.0

    def device_volumes(self) -> float:
        """See :meth:`Solver.device_volumes`."""
        return 36.0

    def memory_bytes(self, problem: Problem) -> float:
        """See :meth:`Solver.memory_bytes`; each echo takes two volumes more."""
        return super().memory_bytes(problem) + 2 * _echo_count(problem) * self._volume_bytes(problem)

    def device_bytes(self, problem: Problem) -> float:
        """See :meth:`Solver.device_bytes`; each echo takes five volumes more."""
        return super().device_bytes(problem) + 5 * _echo_count(problem) * self._volume_bytes(problem)

    def _solve(self, problem: Problem, callback: Callback | None, start_ppm: NDArray | None) -> Solution:
        if problem.echoes is None or problem.b0_tesla is None:
            raise ParameterError(
                "mctfi: it needs the complex echoes, their times and the field strength; "
                "give phase and magnitude of every echo, or choose tfi"
            )
        if len(problem.echo_times_s) < 2:
            raise ParameterError(
                "mctfi: it needs two echoes or more, found one, which does not tell the phase at echo time 0 from the "
                "field; choose tfi, which takes that phase to be 0"
            )
        return super()._solve(problem, callback, start_ppm)

    def _invert(
        self, case: FieldCase, outside: Outside, callback: Callback | None, start_ppm: NDArray | None
    ) -> tuple[Outcome, dict[str, Any], dict[str, NDArray]]:
        """See :class:`TotalFieldSolver`."""
        problem, operator = case.problem, case.operator
        field_iterations, field = 0.0, case.field
        if start_ppm is None:
            linear = WeightedField(operator.transform, field, case.weight)
            settings = self._settings(**({"max_iterations": self.field_iterations} if self.field_iterations else {}))
            found = self._engine(case, linear, outside, settings).run(callback=provisionally(callback))
            if found.stop_reason.asked_for:
                return found, {"model": self.model, "stage": "field", **outside.facts}, {}
            start_ppm = host(found.image[..., : operator.padded_grid.shape[2]]).copy()
            field_iterations = sum(found.history["cg_iterations"])
            del linear, found
        assert case.echoes is not None
        assert problem.b0_tesla is not None
        model = MultiEchoSignal(
            operator.transform, case.echoes, problem.mask, problem.echo_times_s, problem.b0_tesla,
            field=case.field if self.field_iterations is None else None, offset_ppm=problem.field_offset_ppm,
            reliability=problem.reliability, full=self.model == "full",
        )  # fmt: skip
        outcome = self._engine(case, model, outside, self._settings()).run(start_ppm, callback)
        details = {"model": self.model, "field_cg_iterations": field_iterations, **outside.facts}
        maps = model.maps(problem.grid.shape)
        if self.model == "reduced":
            maps = {"initial_phase_rad": maps["initial_phase_rad"]}
        return outcome, details, maps


def _echo_count(problem: Problem) -> int:
    return 0 if problem.echoes is None else problem.echoes.shape[3]


SOLVERS = (McTFI,)
