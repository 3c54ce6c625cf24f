"""What all solvers that are compositions on the ADMM engine share: their parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from qsm_recon.problem import Problem
from qsm_recon.result import Callback
from qsm_recon.solvers.base import Series, Solution
from qsm_recon.solvers.composition import Composition, CompositionRun
from qsm_recon.solvers.continued import ContinuedSeries
from qsm_recon.solvers.default_weights import TOTAL_VARIATION_RULE, absolute_weight, total_variation_weight
from qsm_recon.solvers.iterative import ADMMSolver, normalisation_parameter, weighting_parameter
from qsm_recon.solvers.parameters import parameter
from qsm_recon.terms.weights import data_weight


def harmonic_penalty() -> Any:
    """Declare muh."""
    return parameter(
        None, "mm⁴", "penalty muh of its splitting; by default the residuals balance it", low=1e-9, high=1e9, kind=float
    )


def convex_start() -> Any:
    """Declare how many linear iterations a nonlinear method begins with."""
    return parameter(
        None, "1", "linear iterations before the published function, 0 as published; by default beyond one radian the "
        "function goes on as the linear one, so that strong fields are not taken for wraps",
        low=0, high=100_000, kind=int,
    )  # fmt: skip


@dataclass(frozen=True)
class VariationalSolver(ADMMSolver):
    """Base of the recipes on the ADMM engine; a recipe says which :class:`Composition` it is."""

    default_rule: ClassVar[str] = TOTAL_VARIATION_RULE
    scaling_power: ClassVar[int | None] = 1

    regularisation_weight: float | None = parameter(
        None, "ppm·mm", "weight alpha of the total variation; by default from the field's error and gradient",
        low=1e-12, high=1e3, kind=float, main=True,
    )  # fmt: skip
    weighting: str = weighting_parameter()
    weight_normalisation: str = normalisation_parameter()
    regularisation_weighting: str = parameter(
        "none", "1", "weaken the regulariser where this image has edges; edges: none at all on those of the magnitude",
        choices=("none", "magnitude", "r2star", "edges"),
    )  # fmt: skip
    field_penalty: float | None = parameter(
        None, "1", "penalty mu2 of the field splitting; by default from W (and the spread of the field for l1)",
        low=1e-12, high=1e12, kind=float,
    )  # fmt: skip

    def composition(self) -> Composition:
        """Return the parts of this method."""
        return Composition()

    def memory_volumes(self) -> float:
        """See :class:`Solver`."""
        composition = self.composition()
        return 10.5 + composition.regulariser.memory_volumes + (4.0 if composition.background else 0.0)

    def kept_volumes(self) -> float:
        """See :class:`Solver`; the field of a map is computed beside the state that a series goes on from."""
        return 3.0

    def device_volumes(self) -> float:
        """See :class:`Solver`; steps of phase have more numbers of a voxel at hand, and a vector field is all there."""
        composition = self.composition()
        steps = 36.0 if composition.fidelity.of_phase else 27.0
        return steps + 1.95 * composition.regulariser.memory_volumes + (4.0 if composition.background else 0.0)

    def default_weight(self, problem: Problem) -> float:
        """See :class:`Solver`."""
        linear = self.composition().fidelity.power == 1
        return absolute_weight(problem) if linear else total_variation_weight(problem)

    def _solve(self, problem: Problem, callback: Callback | None, start_ppm: NDArray | None) -> Solution:
        run = CompositionRun(self, problem, self.composition())
        outcome = run.minimise(self.main_value(), None, callback, start_ppm)
        return run.solution(outcome, {"weighting": run.weight_origin})

    def series(self, problem: Problem) -> Series:
        """See :class:`Solver`."""
        return ContinuedSeries(problem)

    def noise_fidelity(self, problem: Problem) -> float | None:
        """See :class:`Solver`."""
        weight, _ = data_weight(problem, self.weighting, self.weight_normalisation)
        return self.composition().fidelity.noise_level(problem, weight)
