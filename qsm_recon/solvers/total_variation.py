"""Total variation with a quadratic (``tv``) or nonlinear (``fansi``) data fidelity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from qsm_recon.engines.admm import ADMM, ADMMSettings
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.gradient import gradient_spacing
from qsm_recon.problem import Problem
from qsm_recon.result import Callback, Reconstruction
from qsm_recon.solvers.base import Solver
from qsm_recon.solvers.parameters import parameter
from qsm_recon.terms.fidelity import Fidelity, NonlinearFidelity, QuadraticFidelity
from qsm_recon.terms.regulariser import TotalVariation
from qsm_recon.terms.weights import data_weight

# Chosen for the fewest iterations to within 0.1 % of the final objective, on the reduced phantom and RC1.
THRESHOLD_OF_SPREAD = 0.07
FIELD_PENALTY_OF_WEIGHT = 0.5


@dataclass(frozen=True)
class LinearTV(Solver):
    """½‖W (D χ - φ)‖² + alpha ‖∇χ‖₁, by ADMM."""

    name: ClassVar[str] = "tv"
    title: ClassVar[str] = "Total variation, linear fidelity"
    citation: ClassVar[str] = (
        "Bilgic et al., Magn Reson Med 72:1444-1459 (2014), doi 10.1002/mrm.25029; "
        "Milovic et al., Magn Reson Med 80:814-821 (2018), doi 10.1002/mrm.27073"
    )

    regularisation_weight: float = parameter(
        5e-4, "ppm·mm", "weight alpha of the total variation", low=1e-12, high=1e3, main=True
    )
    weighting: str = parameter(
        "auto", "1", "data weight W; auto takes the given weight, else the magnitude, else the mask",
        choices=("auto", "uniform", "mask", "magnitude", "magnitude-squared", "noise", "given"),
    )  # fmt: skip
    weight_normalisation: str = parameter(
        "rms", "1", "scale of W: root mean square 1 in the mask, maximum 1, or as it is", choices=("rms", "max", "none")
    )
    kernel: str = parameter("continuous", "1", "dipole kernel", choices=("continuous", "discrete", "green"))
    gradient: str = parameter(
        "physical", "1", "differences per mm, or per voxel as the FANSI toolbox takes them",
        choices=("physical", "unit-voxel"),
    )  # fmt: skip
    padding: int = parameter(0, "voxels", "zeros added around the image at least", low=0, high=512)
    max_iterations: int = parameter(500, "1", "most iterations", low=1, high=1_000_000)
    tolerance: float = parameter(
        5e-4, "1", "relative change of the objective over 20 iterations to stop at", low=0, high=1
    )
    residual_tolerance: float = parameter(
        0.03, "1", "relative primal and dual residuals that must be reached as well", low=0, high=10
    )
    update_tolerance: float = parameter(
        0.0, "1", "relative update to stop at as well; 0 for never (the toolbox stops at 1e-3)", low=0, high=1
    )
    gradient_penalty: float | None = parameter(
        None, "1", "penalty mu1 of the gradient splitting; by default from the spread of the field",
        low=1e-12, high=1e12, kind=float,
    )  # fmt: skip
    field_penalty: float | None = parameter(
        None, "1", "penalty mu2 of the field splitting; by default half the mean of W²", low=1e-6, high=1e6, kind=float
    )
    relaxation: float = parameter(1.8, "1", "over-relaxation; 1 for none", low=1.0, high=1.99)
    balance: bool = parameter(False, "1", "adapt mu1 so that primal and dual residuals stay comparable")
    precision: str = parameter("single", "1", "arithmetic", choices=("single", "double"))

    def _solve(self, problem: Problem, callback: Callback | None, start_ppm: NDArray | None) -> Reconstruction:
        scale = self._internal_scale(problem)
        dtype = np.float32 if self.precision == "single" else np.float64
        operator = DipoleOperator(problem.grid, self.kernel, dtype, self.padding)  # type: ignore[arg-type]
        weight, weight_origin = data_weight(problem, self.weighting, self.weight_normalisation)  # type: ignore[arg-type]
        field = np.where(problem.mask, problem.field_ppm, 0) * dtype(scale)
        alpha = self.regularisation_weight * scale
        engine = ADMM(
            operator.transform,
            operator.kernel,
            self._fidelity(operator, field, weight),
            TotalVariation(operator.transform, gradient_spacing(problem.grid, self.gradient), alpha),  # type: ignore[arg-type]
            self._settings(alpha, scale, field[problem.mask], weight[problem.mask]),
        )
        outcome = engine.run(None if start_ppm is None else start_ppm * scale, callback)
        susceptibility = operator.crop(outcome.image) / dtype(scale)
        return Reconstruction(
            susceptibility_ppm=np.where(problem.mask, susceptibility, 0).astype(np.float32),
            mask=problem.mask,
            solver=self.name,
            parameters=self.parameters(),
            converged=outcome.converged,
            stop_reason=outcome.stop_reason,
            iterations=len(outcome.history["objective"]),
            history=outcome.history,
            details={
                "weighting": weight_origin,
                "rad_per_ppm": scale if scale != 1 else None,
                "padded_shape": list(operator.padded_grid.shape),
            },
        )

    def _settings(self, alpha: float, scale: float, field: NDArray, weight: NDArray) -> ADMMSettings:
        """Settings of the loop; penalties follow the data, so that rescaling field and alpha rescales the iterates."""
        spread = float(np.std(field, dtype=np.float64))
        gradient_penalty = alpha / max(THRESHOLD_OF_SPREAD * spread, 1e-12)
        field_penalty = FIELD_PENALTY_OF_WEIGHT * float(np.mean(np.square(weight, dtype=np.float64)))
        return ADMMSettings(
            gradient_penalty=self.gradient_penalty or gradient_penalty,
            field_penalty=self.field_penalty or field_penalty,
            max_iterations=self.max_iterations,
            tolerance=self.tolerance,
            residual_tolerance=self.residual_tolerance,
            update_tolerance=self.update_tolerance,
            relaxation=self.relaxation,
            balance=self.balance,
            units_per_ppm=scale,
        )

    def _internal_scale(self, problem: Problem) -> float:
        """Internal units of χ and the field per ppm."""
        return 1.0

    def _fidelity(self, operator: DipoleOperator, field: NDArray, weight: NDArray) -> Fidelity:
        return QuadraticFidelity(operator.transform, field, weight)


@dataclass(frozen=True)
class FANSI(LinearTV):
    """½‖W (exp(i s D χ) - exp(i s φ))‖² / s² + alpha ‖∇χ‖₁, by ADMM, with s in rad per ppm.

    The division by s² makes it the linear method for small phases, with the same alpha.  In the units of the FANSI
    toolbox (χ in rad) its alpha1 is alpha · s.
    """

    name: ClassVar[str] = "fansi"
    title: ClassVar[str] = "FANSI: total variation, nonlinear fidelity"
    citation: ClassVar[str] = "Milovic et al., Magn Reson Med 80:814-821 (2018), doi 10.1002/mrm.27073"

    def _internal_scale(self, problem: Problem) -> float:
        return problem.phase_scale

    def _fidelity(self, operator: DipoleOperator, field: NDArray, weight: NDArray) -> Fidelity:
        return NonlinearFidelity(operator.transform, field, weight)


SOLVERS = (LinearTV, FANSI)
