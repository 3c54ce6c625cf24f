"""What all solvers on the ADMM engine share: their parameters, and how the parts are put together."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.arrays import host
from qsm_recon.engines.admm import ADMM, ADMMOutcome, ADMMSettings
from qsm_recon.operators.gradient import gradient_spacing
from qsm_recon.problem import Problem
from qsm_recon.result import Callback, Reconstruction
from qsm_recon.solvers.default_weights import TOTAL_VARIATION_RULE, absolute_weight, total_variation_weight
from qsm_recon.solvers.iterative import ADMMSolver
from qsm_recon.solvers.parameters import parameter
from qsm_recon.solvers.series import Series
from qsm_recon.terms.background import WeakHarmonic
from qsm_recon.terms.fidelity import (
    AbsoluteFidelity,
    Fidelity,
    NonlinearAbsoluteFidelity,
    NonlinearFidelity,
    QuadraticFidelity,
)
from qsm_recon.terms.regulariser import Regulariser, TotalGeneralisedVariation, TotalVariation
from qsm_recon.terms.voxel_weights import regularisation_voxel_weights
from qsm_recon.terms.weights import data_weight, fidelity_of_noise

# mu2 as a fraction of the mean of W².
FIELD_PENALTY = {"tv": 0.12, "tgv": 0.08}
# muh / mu2 of a weakly harmonic background at the start, in voxels to the fourth power; residuals move it later.
HARMONIC_PENALTY_RATIO = 1.2
# mu0 / mu1 of TGV over alpha0 / alpha1, in voxels: both thresholds then scale alike.
SECOND_PENALTY_RATIO = 15.0
# Size of a map, over the field's spread, below which it is nothing.
NEGLIGIBLE = 3e-3
# Defaults of alpha0 / alpha1 in voxels, and of beta in voxels to the fourth power.
SECOND_WEIGHT_RATIO = 2.0
HARMONIC_WEIGHT = 150.0


@dataclass(frozen=True)
class Thresholds:
    """What penalties follow from: shrinkage thresholds as fractions of the field's spread.

    Parameters
    ----------
    gradient
        Of the gradient, per voxel.
    residual
        Of the residual of an l1 fidelity.
    early
        See :class:`qsm_recon.engines.admm.ADMMSettings`.
    """

    gradient: float
    residual: float = 1.0
    early: float = 64.0


# Chosen for the fewest iterations to within 1.5 % of the final map, on reduced phantoms and RC1.
SQUARED, ABSOLUTE = Thresholds(0.28), Thresholds(0.84, 1.2)
# Small steps, for what depends on the way: few iterations, and functions with several minima.
CAUTIOUS = Thresholds(0.14, 0.3, early=1.0)
CAUTIOUS_RELAXATION = 1.8


@dataclass(frozen=True)
class Composition:
    """Which parts a method is made of.

    Parameters
    ----------
    fidelity
        ``quadratic``, ``nonlinear``, ``l1`` or ``nonlinear-l1``.
    regulariser
        ``tv`` or ``tgv``.
    second_weight_ratio
        alpha0 / alpha1 of ``tgv``, in mm; twice the voxel's edge where None.
    harmonic_weight, harmonic_penalty
        beta and muh of a weakly harmonic background, in mm⁴; none where beta is 0, 150 fourth powers of the voxel's
        edge where it is None.  Where muh is None it starts from mu2, and the residuals balance it.
    convex_iterations
        Iterations with the linear fidelity before a nonlinear one takes over; none, but a function that holds on to its
        turn, where None.
    """

    fidelity: str = "quadratic"
    regulariser: str = "tv"
    second_weight_ratio: float | None = None
    harmonic_weight: float | None = 0.0
    harmonic_penalty: float | None = None
    convex_iterations: int | None = 0

    @property
    def nonlinear(self) -> bool:
        """Whether the fidelity is one of phase, in rad."""
        return self.fidelity.startswith("nonlinear")

    @property
    def absolute(self) -> bool:
        """Whether the fidelity is an l1 norm."""
        return self.fidelity.endswith("l1")


FIDELITIES: dict[str, Callable[..., Fidelity]] = {
    "quadratic": QuadraticFidelity,
    "nonlinear": NonlinearFidelity,
    "l1": AbsoluteFidelity,
    "nonlinear-l1": NonlinearAbsoluteFidelity,
}
WEIGHTINGS = ("auto", "uniform", "mask", "magnitude", "magnitude-squared", "noise", "given")


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

    regularisation_weight: float | None = parameter(
        None, "ppm·mm", "weight alpha of the total variation; by default from the field's error and gradient",
        low=1e-12, high=1e3, kind=float, main=True,
    )  # fmt: skip
    weighting: str = parameter(
        "auto", "1", "data weight W; auto takes the given weight, else the magnitude, else the mask", choices=WEIGHTINGS
    )
    weight_normalisation: str = parameter(
        "rms", "1", "scale of W: root mean square 1 in the mask, maximum 1, or as it is", choices=("rms", "max", "none")
    )
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
        background = composition.harmonic_weight != 0
        return 14.0 + (16.0 if composition.regulariser == "tgv" else 0.0) + (4.0 if background else 0)

    def default_weight(self, problem: Problem) -> float:
        """See :class:`Solver`."""
        return absolute_weight(problem) if self.composition().absolute else total_variation_weight(problem)

    def _solve(self, problem: Problem, callback: Callback | None, start_ppm: NDArray | None) -> Reconstruction:
        weight, weight_origin = data_weight(problem, self.weighting, self.weight_normalisation)  # type: ignore[arg-type]
        run = CompositionRun(self, problem, self.composition())
        outcome = run.minimise(self.main_value(), weight, callback, start_ppm)
        return run.reconstruction(outcome, {"weighting": weight_origin})

    def series(self, problem: Problem) -> Series:
        """See :class:`Solver`."""
        from qsm_recon.solvers.continued_series import ContinuedSeries

        return ContinuedSeries(problem)

    def noise_fidelity(self, problem: Problem) -> float | None:
        """See :class:`Solver`."""
        weight, _ = data_weight(problem, self.weighting, self.weight_normalisation)  # type: ignore[arg-type]
        return fidelity_of_noise(problem, weight, 1 if self.composition().absolute else 2)


class CompositionRun:
    """One problem on one padded grid, ready to minimise functionals of one composition.

    Parameters
    ----------
    solver
        Gives the general parameters.
    problem
        The measurement.
    composition
        The parts.
    thresholds
        What its penalties follow from; what is best for a solution where None.
    """

    def __init__(
        self,
        solver: VariationalSolver,
        problem: Problem,
        composition: Composition,
        thresholds: Thresholds | None = None,
    ) -> None:
        self._solver = solver
        several_minima = composition.nonlinear and composition.convex_iterations is not None
        usual = ABSOLUTE if composition.absolute else SQUARED
        self._thresholds = thresholds or (CAUTIOUS if several_minima else usual)
        self._problem = problem
        self._composition = composition
        self.operator = solver.dipole_operator(problem)
        self._dtype = self.operator.transform.dtype.type
        # Nonlinear fidelities work in rad.
        self.scale = problem.phase_scale if composition.nonlinear else 1.0
        self._spacing = gradient_spacing(problem.grid, solver.gradient)  # type: ignore[arg-type]
        self._voxel = math.sqrt(float(np.mean(np.square(self._spacing))))
        self._voxel_weights = regularisation_voxel_weights(problem, solver.regularisation_weighting)
        self._background: WeakHarmonic | None = None
        self._field_penalty = math.nan

    def minimise(
        self,
        regularisation_weight: float,
        weight: NDArray,
        callback: Callback | None = None,
        start_ppm: NDArray | None = None,
    ) -> ADMMOutcome:
        """Minimise the functional.

        Parameters
        ----------
        regularisation_weight
            alpha, in ppm·mm (mm for l1 fidelities).
        weight
            (nx, ny, nz) data weight W.
        callback
            See :data:`qsm_recon.result.Callback`.
        start_ppm
            (nx, ny, nz) χ to start from.
        """
        engine = self.engine(regularisation_weight, weight, from_nothing=start_ppm is None)
        if start_ppm is not None and self.scale != 1:
            start_ppm = start_ppm * self.scale
        return engine.run(start_ppm, callback)

    def engine(self, regularisation_weight: float, weight: NDArray, *, from_nothing: bool = True) -> ADMM:
        """Put the parts together; parameters as for :meth:`minimise`, and whether the start will be χ = 0."""
        problem, composition, transform = self._problem, self._composition, self.operator.transform
        field = np.where(problem.mask, problem.field_ppm, 0) * self._dtype(self.scale)
        # In units of 1/scale ppm, an l1 fidelity scales as χ does, a squared one as χ².
        alpha = regularisation_weight if composition.absolute else regularisation_weight * self.scale
        settings = self._settings(alpha, field[problem.measured], weight[problem.mask])
        if composition.harmonic_weight != 0:
            area = self._voxel**2
            given = composition.harmonic_weight
            self._background = WeakHarmonic(
                transform,
                self._spacing,
                problem.mask,
                HARMONIC_WEIGHT * area**2 if given is None else given,
                composition.harmonic_penalty or HARMONIC_PENALTY_RATIO * settings.field_penalty * area**2,
                balance=composition.harmonic_penalty is None,
            )
        return ADMM(
            transform,
            self.operator.kernel,
            self._fidelity(field, weight, self._convex_iterations(from_nothing)),
            self._regulariser(alpha),
            settings,
            self._background,
            problem.mask,
        )

    def reconstruction(
        self, outcome: ADMMOutcome, details: dict[str, Any], solver: VariationalSolver | None = None
    ) -> Reconstruction:
        """Wrap up an outcome, of another solver than the one given at first where it differs in its weight alone."""
        problem, solver = self._problem, solver or self._solver
        susceptibility = self.operator.crop(outcome.image)
        susceptibility /= self._dtype(self.scale)
        images = {}
        fitted = self.operator.forward_padded(outcome.image) / self._dtype(self.scale)
        if self._background is not None:
            nx, ny, nz = problem.grid.shape
            total = host(self._background.total_field[:nx, :ny, :nz]) / self._dtype(self.scale)
            images["background_field_ppm"] = np.where(problem.mask, total - fitted, 0).astype(np.float32)
            fitted = total
        return Reconstruction(
            susceptibility_ppm=np.where(problem.mask, susceptibility, 0).astype(np.float32),
            mask=problem.mask,
            solver=solver.name,
            parameters=solver.parameters(),
            converged=outcome.converged,
            stop_reason=outcome.stop_reason,
            iterations=len(outcome.history["objective"]),
            history=outcome.history,
            details={
                "rad_per_ppm": self.scale if self._composition.nonlinear else None,
                "padded_shape": list(self.operator.padded_grid.shape),
                "field_penalty": self._field_penalty,
                **({} if self._background is None else {"harmonic_penalty": self._background.penalty}),
                **outcome.facts(),
                **details,
            },
            images=images,
            fitted_field_ppm=np.where(problem.mask, fitted, 0).astype(np.float32),
        )

    def _convex_iterations(self, from_nothing: bool) -> int | None:
        """As the composition has it; a number of linear iterations is for a start from nothing."""
        number = self._composition.convex_iterations
        return number if from_nothing or number is None else 0

    def _fidelity(self, field: NDArray, weight: NDArray, convex_iterations: int | None) -> Fidelity:
        further = {"convex_iterations": convex_iterations} if self._composition.nonlinear else {}
        return FIDELITIES[self._composition.fidelity](self.operator.transform, field, weight, **further)

    def _regulariser(self, alpha: float) -> Regulariser:
        transform, composition = self.operator.transform, self._composition
        if composition.regulariser == "tv":
            return TotalVariation(transform, self._spacing, alpha, self._voxel_weights)
        given = composition.second_weight_ratio
        ratio = SECOND_WEIGHT_RATIO * self._voxel if given is None else given
        penalty_ratio = SECOND_PENALTY_RATIO * self._voxel * ratio
        return TotalGeneralisedVariation(
            transform, self._spacing, alpha, ratio * alpha, penalty_ratio, self._voxel_weights
        )

    def _settings(self, alpha: float, field: NDArray, weight: NDArray) -> ADMMSettings:
        """Settings of the loop; penalties follow the data, so that rescaling field and alpha rescales the iterates."""
        solver, composition, thresholds = self._solver, self._composition, self._thresholds
        spread = max(float(np.std(field, dtype=np.float64)), 1e-12)
        if composition.absolute:
            field_penalty = float(np.mean(weight, dtype=np.float64)) / (thresholds.residual * spread)
        else:
            field_penalty = FIELD_PENALTY[composition.regulariser] * float(np.mean(np.square(weight, dtype=np.float64)))
        self._field_penalty = solver.field_penalty or field_penalty
        threshold = thresholds.gradient * spread / self._voxel
        return solver.admm_settings(
            alpha / threshold,
            field_penalty=self._field_penalty,
            units_per_ppm=self.scale,
            fidelity_power=1 if composition.absolute else 2,
            early_threshold=1.0 if solver.balance or solver.gradient_penalty else thresholds.early,
            relaxation=min(solver.relaxation, CAUTIOUS_RELAXATION) if thresholds is CAUTIOUS else solver.relaxation,
            negligible=NEGLIGIBLE * spread,
        )
