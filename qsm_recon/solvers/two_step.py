"""Rapid two-step dipole inversion (``rts``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from qsm_recon.engines.admm import ADMMSettings
from qsm_recon.engines.known_frequencies import KnownFrequencyADMM, KnownFrequencySweeps
from qsm_recon.engines.least_squares import spectral_least_squares
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.gradient import gradient_spacing
from qsm_recon.problem import Problem
from qsm_recon.result import Callback, Reconstruction
from qsm_recon.solvers.base import Solver
from qsm_recon.solvers.parameters import parameter
from qsm_recon.terms.regulariser import TotalVariation

# Threshold of the gradient's shrinkage as a fraction of the field's spread, chosen for the fewest iterations.
GRADIENT_THRESHOLD = 0.1


@dataclass(frozen=True)
class RapidTwoStep(Solver):
    """Frequencies with a large |D| by least squares, the others by total variation.

    Step 1 does a few iterations of LSMR on D χ = φ, which gives χ₁ inside the mask.  Step 2 minimises
    ½‖M F(χ - χ₁)‖² + alpha ‖∇χ‖₁ with M one where |D| exceeds a threshold; with mu of the paper, alpha = 1 / mu.
    """

    name: ClassVar[str] = "rts"
    title: ClassVar[str] = "Rapid two-step inversion: least squares, then total variation"
    citation: ClassVar[str] = "Kames et al., NeuroImage 167:276-283 (2018), doi 10.1016/j.neuroimage.2017.11.018"

    regularisation_weight: float = parameter(
        1e-3, "ppm·mm", "weight alpha of the total variation; 1e-5 as published", low=1e-12, high=1e3, main=True
    )
    threshold: float = parameter(0.15, "1", "smallest |D| of the frequencies that step 1 settles", low=1e-6, high=0.66)
    least_squares_iterations: int = parameter(4, "1", "iterations of step 1", low=1, high=10_000)
    kernel: str = parameter("continuous", "1", "dipole kernel", choices=("continuous", "discrete", "green"))
    gradient: str = parameter(
        "physical", "1", "differences per mm, or per voxel as the FANSI toolbox takes them",
        choices=("physical", "unit-voxel"),
    )  # fmt: skip
    padding: int = parameter(0, "voxels", "zeros added around the image at least", low=0, high=512)
    max_iterations: int = parameter(500, "1", "most iterations of step 2", low=1, high=1_000_000)
    tolerance: float = parameter(
        3e-4, "1", "relative change of the objective over 20 iterations to stop at", low=0, high=1
    )
    residual_tolerance: float = parameter(
        0.03, "1", "relative primal and dual residuals that must be reached as well", low=0, high=10
    )
    update_tolerance: float = parameter(
        0.0, "1", "relative update to stop at as well; 0 for never (1e-2 as published)", low=0, high=1
    )
    gradient_penalty: float | None = parameter(
        None, "1", "penalty of the gradient splitting; by default from the spread of the field",
        low=1e-12, high=1e12, kind=float,
    )  # fmt: skip
    relaxation: float = parameter(1.8, "1", "over-relaxation; 1 for none", low=1.0, high=1.99)
    balance: bool = parameter(False, "1", "adapt the penalty so that primal and dual residuals stay comparable")
    precision: str = parameter("single", "1", "arithmetic", choices=("single", "double"))

    def memory_volumes(self) -> float:
        """See :class:`Solver`; the vectors of step 1 are in double precision."""
        return 26.0

    def _solve(self, problem: Problem, callback: Callback | None, start_ppm: NDArray | None) -> Reconstruction:
        dtype = np.float32 if self.precision == "single" else np.float64
        operator = DipoleOperator(problem.grid, self.kernel, dtype, self.padding)  # type: ignore[arg-type]
        field = np.where(problem.mask, problem.field_ppm, 0)
        found = spectral_least_squares(operator, field, self.least_squares_iterations)
        first = np.where(problem.mask, found, 0)
        transform = operator.transform
        spacing = gradient_spacing(problem.grid, self.gradient)  # type: ignore[arg-type]
        regulariser = TotalVariation(transform, spacing, self.regularisation_weight)
        known = transform.load_image(first)
        sweeps = KnownFrequencySweeps(transform, operator.kernel, known, self.threshold, regulariser)
        settings = self._settings(problem.field_ppm[problem.mask])
        outcome = KnownFrequencyADMM(sweeps, regulariser, settings).run(
            first if start_ppm is None else start_ppm, callback
        )
        susceptibility = operator.crop(outcome.image)
        return Reconstruction(
            susceptibility_ppm=np.where(problem.mask, susceptibility, 0).astype(np.float32),
            mask=problem.mask,
            solver=self.name,
            parameters=self.parameters(),
            converged=outcome.converged,
            stop_reason=outcome.stop_reason,
            iterations=len(outcome.history["objective"]),
            history=outcome.history,
            details={"padded_shape": list(operator.padded_grid.shape)},
        )

    def _settings(self, field: NDArray) -> ADMMSettings:
        spread = max(float(np.std(field, dtype=np.float64)), 1e-12)
        return ADMMSettings(
            gradient_penalty=self.gradient_penalty or self.regularisation_weight / (GRADIENT_THRESHOLD * spread),
            max_iterations=self.max_iterations,
            tolerance=self.tolerance,
            residual_tolerance=self.residual_tolerance,
            update_tolerance=self.update_tolerance,
            relaxation=self.relaxation,
            balance=self.balance,
        )


SOLVERS = (RapidTwoStep,)
