"""Rapid two-step dipole inversion (``rts``)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from qsm_recon.engines.admm import ADMM, ADMMSettings
from qsm_recon.engines.known_frequencies import KnownFrequencySweeps
from qsm_recon.engines.least_squares import spectral_least_squares
from qsm_recon.operators.gradient import gradient_spacing
from qsm_recon.problem import Problem
from qsm_recon.result import Callback
from qsm_recon.solvers.base import Solution
from qsm_recon.solvers.default_weights import TWO_STEP_FACTOR, TWO_STEP_RULE, total_variation_weight
from qsm_recon.solvers.iterative import ADMMSolver
from qsm_recon.solvers.parameters import parameter
from qsm_recon.terms.regulariser import TotalVariation

# Threshold of the gradient's shrinkage, per voxel, as a fraction of the field's spread: for few iterations.
GRADIENT_THRESHOLD = 0.14


@dataclass(frozen=True)
class RapidTwoStep(ADMMSolver):
    """Frequencies with a large |D| by least squares, the others by total variation.

    Step 1 does a few iterations of LSMR on D χ = φ, which gives χ₁ inside the mask.  Step 2 minimises
    ½‖M F(χ - χ₁)‖² + alpha ‖∇χ‖₁ with M one where |D| exceeds a threshold; with mu of the paper, alpha = 1 / mu.
    """

    name: ClassVar[str] = "rts"
    title: ClassVar[str] = "Rapid two-step inversion: least squares, then total variation"
    citation: ClassVar[str] = "Kames et al., NeuroImage 167:276-283 (2018), doi 10.1016/j.neuroimage.2017.11.018"

    default_rule: ClassVar[str] = TWO_STEP_RULE
    scaling_power: ClassVar[int | None] = 1

    regularisation_weight: float | None = parameter(
        None, "ppm·mm", "weight alpha of the total variation; by default from the field's error and gradient, 1e-5 as "
        "published", low=1e-12, high=1e3, kind=float, main=True,
    )  # fmt: skip
    threshold: float = parameter(0.15, "1", "smallest |D| of the frequencies that step 1 settles", low=1e-6, high=0.66)
    least_squares_iterations: int = parameter(4, "1", "iterations of step 1", low=1, high=10_000)

    def memory_volumes(self) -> float:
        """See :class:`Solver`; the vectors of step 1 are in double precision."""
        return 22.0

    def default_weight(self, problem: Problem) -> float:
        """See :class:`Solver`."""
        return TWO_STEP_FACTOR * total_variation_weight(problem)

    def _solve(self, problem: Problem, callback: Callback | None, start_ppm: NDArray | None) -> Solution:
        operator = self.dipole_operator(problem)
        field = np.where(problem.mask, problem.field_ppm, 0)
        found = spectral_least_squares(operator, field, self.least_squares_iterations)
        first = np.where(problem.mask, found, 0)
        transform = operator.transform
        spacing = gradient_spacing(problem.grid, self.gradient)
        regulariser = TotalVariation().on(transform, spacing, self.main_value())
        known = transform.load_image(first)
        sweeps = KnownFrequencySweeps(transform, operator.kernel, known, self.threshold, regulariser)
        settings = self._settings(problem.field_ppm[problem.mask], math.sqrt(float(np.mean(np.square(spacing)))))
        outcome = ADMM(sweeps, settings, problem.mask).run(first if start_ppm is None else start_ppm, callback)
        return Solution(
            operator.crop(outcome.image),
            operator.forward_padded(outcome.image),
            outcome.stop_reason,
            outcome.history,
            details={
                "padded_shape": list(operator.padded_grid.shape),
                "map_distance": outcome.distance if math.isfinite(outcome.distance) else None,
            },
        )

    def _settings(self, field: NDArray, voxel: float) -> ADMMSettings:
        spread = max(float(np.std(field, dtype=np.float64)), 1e-12)
        return self.admm_settings(self.main_value() * voxel / (GRADIENT_THRESHOLD * spread))


SOLVERS = (RapidTwoStep,)
