"""The hybrid of l1 and l2 fidelity that won the 2019 challenge (``wl1l2``; HD-QSM)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import ParameterError
from qsm_recon.problem import Problem
from qsm_recon.result import Callback, provisionally
from qsm_recon.solvers.base import Series, Solution, Solver
from qsm_recon.solvers.composition import CAUTIOUS, Composition, CompositionRun
from qsm_recon.solvers.continued import Continued, ContinuedSeries
from qsm_recon.solvers.default_weights import scale_of
from qsm_recon.solvers.parameters import parameter
from qsm_recon.solvers.variational import VariationalSolver
from qsm_recon.terms.fidelity import AbsoluteFidelity
from qsm_recon.terms.weights import data_weight, fidelity_of_noise

# Larger ones are better for weak regularisation and worse for strong: 0.75, which suits wl1, by up to three points.
FIRST_STAGE_FACTOR = 0.2


@dataclass(frozen=True, eq=False)
class FirstStage:
    """What stage 1 found.

    Parameters
    ----------
    regularisation_weight
        alpha that it was done with, in mm.
    susceptibility_ppm
        (nx, ny, nz) χ₁.
    data_weight
        (nx, ny, nz) W of stage 2.
    details
        What the report says of it.
    """

    regularisation_weight: float
    susceptibility_ppm: NDArray
    data_weight: NDArray
    details: dict[str, Any]


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
        return 13.5

    def kept_volumes(self) -> float:
        """See :class:`Solver`; stage 2, while stage 1 is done again."""
        return super().memory_volumes()

    def _solve(self, problem: Problem, callback: Callback | None, start_ppm: NDArray | None) -> Solution:
        first = self.first_stage(problem, callback, start_ppm)
        if isinstance(first, Solution):
            return first
        second = CompositionRun(self, problem, self.composition())
        # A few cautious iterations leave strong sources too small, from where small steps do not bring them up.
        second.begin(self.main_value(), first.data_weight, first.susceptibility_ppm)
        details = first.details
        del first  # its images are in the engine
        return second.solution(second.finish(callback, rough=True), details)

    def first_stage(
        self, problem: Problem, callback: Callback | None = None, start_ppm: NDArray | None = None
    ) -> FirstStage | Solution:
        """Find the voxels that do not fit; a solution where a callback or Ctrl-C ended it.

        Parameters
        ----------
        problem, callback, start_ppm
            As for :meth:`solve`; what the callback is told of is provisional.
        """
        stage = replace(
            self, max_iterations=self.first_iterations, tolerance=0.0, update_tolerance=0.0,
            gradient_penalty=self.first_gradient_penalty, field_penalty=self.first_field_penalty,
        )  # fmt: skip
        run = CompositionRun(stage, problem, Composition(AbsoluteFidelity()), CAUTIOUS)
        alpha = self.weight_of_first_stage(problem)
        found = run.minimise(alpha, None, provisionally(callback), start_ppm)
        susceptibility = run.operator.crop(found.image)
        if found.stop_reason.asked_for:
            return run.solution(found, {"weighting": run.weight_origin, "stage": 1})
        distrust = self._discrepancy(problem, run.operator.forward(susceptibility))
        weight, weight_origin = data_weight(problem, self.weighting, self.weight_normalisation)
        if not (weight * (1 - distrust)).any():  # a single voxel, or all misfit alike: none stands out
            distrust = np.zeros_like(distrust)
        weight = weight * (1 - distrust)
        details = {
            "weighting": weight_origin,
            "first_stage_weight": alpha,
            "first_stage_objective": found.history["objective"],
            "mean_distrust": float(distrust[problem.mask].mean()),
            "noise_fidelity": fidelity_of_noise(problem, weight),
        }
        return FirstStage(alpha, susceptibility, weight, details)

    def weight_of_first_stage(self, problem: Problem) -> float:
        """Return alpha of stage 1, in mm.

        Beyond that for the default of stage 2 it would give up strong sources for good.
        """
        if self.first_weight is not None:
            return self.first_weight
        return FIRST_STAGE_FACTOR * min(self.main_value(), self.default_weight(problem)) / scale_of(problem).error_ppm

    def series(self, problem: Problem) -> Series:
        """See :class:`Solver`."""
        return HybridSeries(problem)

    def _discrepancy(self, problem: Problem, field: NDArray) -> NDArray:
        """|φ - D χ₁| in the mask over its percentile, at most 1."""
        discrepancy = np.where(problem.mask, np.abs(problem.field_ppm - field), 0)
        full = float(np.percentile(discrepancy[problem.mask], self.discrepancy_percentile))
        if full == 0:
            return np.zeros_like(discrepancy)
        return np.minimum(discrepancy / full, 1)


class HybridSeries(ContinuedSeries):
    """Runs whose stage 2 goes on from that of the run before.

    The iterations of stage 1 are counted, so that it starts anew for each of its weights.
    """

    large_steps: ClassVar[bool] = True  # where stage 1 distrusts a source, its data have little weight

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._first: FirstStage | None = None

    def _begin(self, solver: Solver, callback: Callback | None, start_ppm: NDArray | None) -> Solution:
        self._first = None
        first = self._first_stage(solver, callback)
        if isinstance(first, Solution):
            return first
        return self._minimise(solver, first.data_weight, first.details, callback, first.susceptibility_ppm, rough=True)

    def _go_on(self, state: Continued, solver: Solver, callback: Callback | None) -> Solution:
        first = self._first_stage(solver, callback)
        if isinstance(first, Solution):
            return first
        state.run.weigh(first.data_weight)
        state.details = first.details
        return super()._go_on(state, solver, callback)

    def _first_stage(self, solver: Solver, callback: Callback | None) -> FirstStage | Solution:
        """Stage 1 for a solver; that of the run before where it is the same."""
        if not isinstance(solver, HybridL1L2):
            raise ParameterError(f"a series of two stages takes no '{solver.name}'")
        if self._first is not None and self._first.regularisation_weight == solver.weight_of_first_stage(self._part):
            return self._first
        found = solver.first_stage(self._part, callback)
        self._first = found if isinstance(found, FirstStage) else None
        return found


SOLVERS = (HybridL1L2,)
