"""The hybrid of l1 and l2 fidelity that won the 2019 challenge (``wl1l2``; HD-QSM)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from qsm_recon.problem import Problem
from qsm_recon.result import Callback
from qsm_recon.solvers.base import Series, Solution
from qsm_recon.solvers.composition import CAUTIOUS, Composition, CompositionRun
from qsm_recon.solvers.default_weights import scale_of
from qsm_recon.solvers.parameters import parameter
from qsm_recon.solvers.variational import VariationalSolver
from qsm_recon.terms.fidelity import AbsoluteFidelity
from qsm_recon.terms.weights import data_weight, fidelity_of_noise

# Larger ones are better for weak regularisation and worse for strong: 0.75, which suits wl1, by up to three points.
FIRST_STAGE_FACTOR = 0.2


@dataclass(frozen=True)
class HybridL1L2(VariationalSolver):
    """Total variation in two stages: an l1 fidelity finds voxels that do not fit, an l2 fidelity trusts them less.

    Stage 1 does a few iterations of ``wl1``.  With d = |φ - D χ₁| divided by its maximum in the mask, stage 2 is
    ``tv`` with the weight W (1 - d), started from χ₁.
    """

    name: ClassVar[str] = "wl1l2"
    title: ClassVar[str] = "HD-QSM: hybrid l1 and l2 fidelity, total variation"
    citation: ClassVar[str] = "Lambert et al., Magn Reson Med 88:962-972 (2022), doi 10.1002/mrm.29218"

    warm_starts: ClassVar[bool] = False
    scaling_power: ClassVar[int | None] = None  # the link between the weights of its stages

    first_weight: float | None = parameter(
        None, "mm", "alpha of stage 1; by default a fifth of that of stage 2 (of its default if less) over the "
        "field's error per voxel; as published it is the square root of that of stage 2 in ppm·mm",
        low=1e-9, high=1e6, kind=float,
    )  # fmt: skip
    first_iterations: int = parameter(20, "1", "iterations of stage 1", low=1, high=100_000)
    first_gradient_penalty: float | None = parameter(
        None, "1", "penalty mu1 of stage 1; by default from the spread of the field", low=1e-12, high=1e12, kind=float
    )
    first_field_penalty: float | None = parameter(
        None, "1", "penalty mu2 of stage 1; by default from W and the spread of the field",
        low=1e-12, high=1e12, kind=float,
    )  # fmt: skip
    discrepancy_percentile: float = parameter(
        100.0, "%", "percentile of |φ - D χ₁| that counts as full distrust; 100 (the maximum) as published",
        low=50.0, high=100.0,
    )  # fmt: skip

    def memory_volumes(self) -> float:
        """See :class:`Solver`; stage 2 begins with the map of stage 1."""
        return 17.5

    def _solve(self, problem: Problem, callback: Callback | None, start_ppm: NDArray | None) -> Solution:
        weight, weight_origin = data_weight(problem, self.weighting, self.weight_normalisation)
        stage = replace(
            self, max_iterations=self.first_iterations, tolerance=0.0, update_tolerance=0.0,
            gradient_penalty=self.first_gradient_penalty, field_penalty=self.first_field_penalty,
        )  # fmt: skip
        first = CompositionRun(stage, problem, Composition(AbsoluteFidelity()), CAUTIOUS)
        alpha = self.first_weight or self._first_weight(problem)
        found = first.minimise(alpha, weight, callback, start_ppm)
        susceptibility = first.operator.crop(found.image)
        if found.stop_reason.asked_for:
            return first.solution(found, {"weighting": weight_origin, "stage": 1})
        distrust = self._discrepancy(problem, first.operator.forward(susceptibility))
        if not (weight * (1 - distrust)).any():  # a single voxel, or all misfit alike: none stands out
            distrust = np.zeros_like(distrust)
        first_objective = found.history["objective"]
        weight = weight * (1 - distrust)
        details = {
            "weighting": weight_origin,
            "first_stage_weight": alpha,
            "first_stage_objective": first_objective,
            "mean_distrust": float(distrust[problem.mask].mean()),
            "noise_fidelity": fidelity_of_noise(problem, weight),
        }
        del first, found, distrust  # frees the buffers of stage 1
        second = CompositionRun(self, problem, Composition())
        outcome = second.minimise(self.main_value(), weight, callback, susceptibility)
        return second.solution(outcome, details)

    def _first_weight(self, problem: Problem) -> float:
        """Default of stage 1; beyond that for the default of stage 2 it would give up strong sources for good."""
        return FIRST_STAGE_FACTOR * min(self.main_value(), self.default_weight(problem)) / scale_of(problem).error_ppm

    def series(self, problem: Problem) -> Series:
        """See :class:`Solver`; the iterations of stage 1 are counted, so that each run starts anew."""
        return Series(problem)

    def _discrepancy(self, problem: Problem, field: NDArray) -> NDArray:
        """|φ - D χ₁| in the mask over its percentile, at most 1."""
        discrepancy = np.where(problem.mask, np.abs(problem.field_ppm - field), 0)
        full = float(np.percentile(discrepancy[problem.mask], self.discrepancy_percentile))
        if full == 0:
            return np.zeros_like(discrepancy)
        return np.minimum(discrepancy / full, 1)


SOLVERS = (HybridL1L2,)
