"""Multi-echo complex total field inversion (``mctfi``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import ParameterError
from qsm_recon.problem import Problem
from qsm_recon.result import Callback, Reconstruction
from qsm_recon.solvers.parameters import parameter
from qsm_recon.solvers.total_field import TotalFieldSolver
from qsm_recon.terms.echo_model import MultiEchoSignal
from qsm_recon.terms.field_model import WeightedField
from qsm_recon.terms.weights import data_weight


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
        "full", "1", "unknown signal: m0, R2* and phase, or the phase only, with the measured magnitude",
        choices=("full", "reduced"),
    )  # fmt: skip
    field_iterations: int = parameter(
        4, "1", "outer iterations on the field map that the echoes are started from", low=1, high=1000
    )

    def memory_volumes(self) -> float:
        """See :meth:`Solver.memory_volumes`."""
        return 40.0

    def _solve(self, problem: Problem, callback: Callback | None, start_ppm: NDArray | None) -> Reconstruction:
        if problem.echoes is None or problem.b0_tesla is None:
            raise ParameterError(
                "mctfi: it needs the complex echoes, their times and the field strength; "
                "give phase and magnitude of every echo, or choose tfi"
            )
        operator = self._operator(problem)
        dtype = operator.transform.dtype
        weight, _ = data_weight(problem)
        weight = weight.astype(dtype)
        field = np.where(problem.mask, problem.field_ppm, 0).astype(dtype)
        outside = self._outside(problem, operator, field, weight)
        field_outcome = None
        if start_ppm is None:
            linear = WeightedField(operator.transform, field, weight)
            engine = self._engine(
                problem, operator, linear, outside, self._settings(max_iterations=self.field_iterations)
            )
            field_outcome = engine.run(None)
            start = field_outcome.image[..., : operator.padded_grid.shape[2]].copy()
            del engine, linear
        else:
            start = start_ppm
        model = MultiEchoSignal(
            operator.transform, problem.echoes, problem.mask, problem.echo_times_s, problem.b0_tesla,
            full=self.model == "full",
        )  # fmt: skip
        outcome = self._engine(problem, operator, model, outside, self._settings()).run(start, callback)
        details = {
            "model": self.model,
            "padded_shape": list(operator.padded_grid.shape),
            "field_cg_iterations": 0 if field_outcome is None else sum(field_outcome.history["cg_iterations"]),
            **outside.facts,
        }
        maps = model.maps(problem.grid.shape)
        if self.model == "reduced":
            maps = {"initial_phase_rad": maps["initial_phase_rad"]}
        return self._reconstruction(operator.crop(outcome.image), problem.mask, outcome, details, maps)


SOLVERS = (McTFI,)
