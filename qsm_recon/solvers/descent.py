"""Nonlinear dipole inversion by descent that is stopped early (``ndi``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from qsm_recon.engines.descent import Descent, DescentSettings
from qsm_recon.problem import Problem
from qsm_recon.result import Callback
from qsm_recon.solvers.base import Solution
from qsm_recon.solvers.iterative import GridSolver, normalisation_parameter, weighting_parameter
from qsm_recon.solvers.parameters import parameter
from qsm_recon.terms.field_model import WeightedField
from qsm_recon.terms.weights import data_weight


@dataclass(frozen=True)
class NonlinearDipoleInversion(GridSolver):
    """½‖W (exp(i s D χ) - exp(i s φ))‖² / s² + ½ alpha ‖χ‖², by descent from zero, with s in rad per ppm.

    The number of iterations regularises: noise near the cone D = 0 grows last.  alpha has no unit and may be tiny.
    Beyond one radian the fidelity holds on to its turn, unless asked not to.
    """

    name: ClassVar[str] = "ndi"
    title: ClassVar[str] = "Nonlinear dipole inversion"
    citation: ClassVar[str] = "Polak et al., NMR Biomed 33:e4271 (2020), doi 10.1002/nbm.4271"
    warm_starts: ClassVar[bool] = False
    scaling_power: ClassVar[int | None] = 0

    regularisation_weight: float = parameter(
        1e-6, "1", "weight alpha of the squared susceptibility, where the largest W is 1", low=0, high=1e3, main=True
    )
    method: str = parameter(
        "conjugate-gradient", "1", "how to descend; the gradient method is the one published first",
        choices=("conjugate-gradient", "gradient"),
    )  # fmt: skip
    step: float = parameter(2.0, "1", "step of the gradient method; 4.5 is the limit of stability", low=1e-6, high=4.4)
    automatic_stop: bool = parameter(
        True, "1", "stop once amplitudes near the zero cone of the dipole kernel have grown to those further away"
    )
    max_iterations: int = parameter(200, "1", "most iterations", low=1, high=1_000_000)
    update_tolerance: float = parameter(0.01, "1", "relative update to stop at", low=0, high=0.2)
    weighting: str = weighting_parameter()
    weight_normalisation: str = normalisation_parameter("max")
    fidelity: str = parameter("nonlinear", "1", "data fidelity", choices=("nonlinear", "linear"))
    hold_turns: bool = parameter(
        True, "1", "let the nonlinear fidelity go on as the linear one beyond one radian, so that strong fields are "
        "not taken for wraps; false as published",
    )  # fmt: skip

    def memory_volumes(self) -> float:
        """See :class:`Solver`."""
        return 15.0

    def _solve(self, problem: Problem, callback: Callback | None, start_ppm: NDArray | None) -> Solution:
        weight, weight_origin = data_weight(problem, self.weighting, self.weight_normalisation)
        operator = self.dipole_operator(problem)
        dtype = operator.transform.dtype
        scale = problem.phase_scale if self.fidelity == "nonlinear" else None
        field = np.where(problem.mask, problem.field_ppm, 0)
        model = WeightedField(
            operator.transform, field.astype(dtype), weight.astype(dtype), scale, holds=self.hold_turns
        )
        settings = DescentSettings(
            conjugate=self.method == "conjugate-gradient",
            damping=self.regularisation_weight,
            step=self.step,
            max_iterations=self.max_iterations,
            update_tolerance=self.update_tolerance,
            automatic_stop=self.automatic_stop,
        )
        outcome = Descent(operator.transform, operator.kernel, model, settings).run(start_ppm, callback)
        return Solution(
            operator.crop(outcome.image),
            operator.forward_padded(outcome.image),
            outcome.stop_reason,
            outcome.history,
            details={
                "rad_per_ppm": scale,
                "weighting": weight_origin,
                "padded_shape": list(operator.padded_grid.shape),
            },
        )


SOLVERS = (NonlinearDipoleInversion,)
