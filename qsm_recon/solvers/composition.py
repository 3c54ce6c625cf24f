"""Functionals put together from terms, and solved on the ADMM engine."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.arrays import host
from qsm_recon.engines.admm import ADMM, ADMMSettings
from qsm_recon.engines.loop import Outcome
from qsm_recon.engines.sweeps import FieldSweeps
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.gradient import gradient_spacing
from qsm_recon.problem import Problem
from qsm_recon.result import Callback
from qsm_recon.solvers.base import Solution
from qsm_recon.terms.background import WeakHarmonic
from qsm_recon.terms.fidelity import Fidelity, QuadraticFidelity
from qsm_recon.terms.regulariser import Regulariser, TotalVariation
from qsm_recon.terms.voxel_weights import regularisation_voxel_weights
from qsm_recon.terms.weights import data_weight

# muh / mu2 of a weakly harmonic background at the start, in voxels to the fourth power; residuals move it later.
HARMONIC_PENALTY_RATIO = 1.2
# Default of beta, in voxels to the fourth power.
HARMONIC_WEIGHT = 150.0
# Size of a map, over the field's spread, below which it is nothing.
NEGLIGIBLE = 3e-3


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
class Background:
    """A weakly harmonic background field.

    Parameters
    ----------
    weight
        beta, in mm⁴; 150 fourth powers of the voxel's edge where None.
    penalty
        muh, in mm⁴; where None it starts from mu2, and the residuals balance it.
    """

    weight: float | None = None
    penalty: float | None = None


@dataclass(frozen=True)
class Composition:
    """The terms that a functional is made of.

    Parameters
    ----------
    fidelity
        Of the data.
    regulariser
        Of the susceptibility.
    background
        A field that is added to that of the susceptibility; none where None.
    """

    fidelity: Fidelity = field(default_factory=QuadraticFidelity)
    regulariser: Regulariser = field(default_factory=TotalVariation)
    background: Background | None = None


@runtime_checkable
class Composed(Protocol):
    """A solver that is a composition, and what is taken from it."""

    @property
    def gradient(self) -> str:
        """Convention of differences."""

    @property
    def weighting(self) -> str:
        """What the data weight W is."""

    @property
    def weight_normalisation(self) -> str:
        """Scale of W."""

    @property
    def regularisation_weighting(self) -> str:
        """Image that weakens the regulariser where it has edges."""

    @property
    def gradient_penalty(self) -> float | None:
        """mu1."""

    @property
    def field_penalty(self) -> float | None:
        """mu2."""

    @property
    def balance(self) -> bool:
        """Whether mu1 is adapted."""

    @property
    def relaxation(self) -> float:
        """Over-relaxation."""

    def composition(self) -> Composition:
        """Return the terms of this method."""

    def dipole_operator(self, problem: Problem) -> DipoleOperator:
        """Set up the dipole operator on a problem's grid."""

    def admm_settings(self, gradient_penalty: float, **changes: Any) -> ADMMSettings:
        """Settings of the engine."""


class CompositionRun:
    """One problem on one padded grid, ready to minimise functionals of one composition.

    Parameters
    ----------
    solver
        Gives the general parameters.
    problem
        The measurement.
    composition
        The terms.
    thresholds
        What its penalties follow from; what is best for a solution where None.
    """

    def __init__(
        self, solver: Composed, problem: Problem, composition: Composition, thresholds: Thresholds | None = None
    ) -> None:
        fidelity = composition.fidelity
        usual = ABSOLUTE if fidelity.power == 1 else SQUARED
        self._thresholds = thresholds or (CAUTIOUS if fidelity.several_minima else usual)
        self._solver = solver
        self._problem = problem
        self._composition = composition
        self.operator = solver.dipole_operator(problem)
        self.unit = problem.phase_scale if fidelity.of_phase else 1.0
        """Units of χ and the field per ppm: everything inside is in them."""
        self._spacing = gradient_spacing(problem.grid, solver.gradient)
        self._voxel = math.sqrt(float(np.mean(np.square(self._spacing))))
        self._background: WeakHarmonic | None = None
        self._sweeps: FieldSweeps | None = None
        self._engine: ADMM | None = None
        self.weight_origin = ""
        """What the data weight is, in words, where it was not given."""
        self._field_penalty = math.nan

    def minimise(
        self,
        regularisation_weight: float,
        weight: NDArray | None = None,
        callback: Callback | None = None,
        start_ppm: NDArray | None = None,
        *,
        rough: bool = False,
    ) -> Outcome:
        """Minimise the functional.

        Parameters
        ----------
        regularisation_weight, weight, start_ppm
            As for :meth:`begin`.
        callback, rough
            As for :meth:`finish`.
        """
        self.begin(regularisation_weight, weight, start_ppm)
        return self.finish(callback, rough=rough)

    def begin(
        self, regularisation_weight: float, weight: NDArray | None = None, start_ppm: NDArray | None = None
    ) -> ADMM:
        """Set up an engine, which copies what it is given.

        Parameters
        ----------
        regularisation_weight
            alpha, in ppm·mm (mm for l1 fidelities).
        weight
            (nx, ny, nz) data weight W; that of the solver's weighting where None.
        start_ppm
            (nx, ny, nz) χ to start from.
        """
        engine = self._engine = self._put_together(regularisation_weight, weight, from_nothing=start_ppm is None)
        if start_ppm is not None:
            engine.load(self.inside(start_ppm))
        return engine

    def finish(self, callback: Callback | None = None, *, rough: bool = False) -> Outcome:
        """Let the engine that was set up run to its end, and free its buffers but for the map.

        Parameters
        ----------
        callback
            See :data:`qsm_recon.result.Callback`.
        rough
            See :meth:`qsm_recon.engines.admm.ADMM.run`.
        """
        assert self._engine is not None  # it was set up
        outcome = self._engine.run(None, callback, rough=rough)
        self._engine = self._sweeps = None
        return outcome

    def _put_together(self, regularisation_weight: float, weight: NDArray | None, *, from_nothing: bool) -> ADMM:
        """Put the terms together; parameters as for :meth:`begin`, and whether the start will be χ = 0."""
        problem, transform, solver = self._problem, self.operator.transform, self._solver
        if weight is None:
            weight, self.weight_origin = data_weight(problem, solver.weighting, solver.weight_normalisation)
        fidelity, regulariser = self._composition.fidelity, self._composition.regulariser
        field = self.inside(np.where(problem.mask, problem.field_ppm, 0))
        # An l1 fidelity scales as χ does, a squared one as χ².
        alpha = regularisation_weight * self.unit ** (fidelity.power - 1)
        settings = self._settings(alpha, field[problem.measured], weight[problem.mask])
        self._background = self._weak_harmonic(settings.field_penalty)
        voxel_weights = regularisation_voxel_weights(problem, solver.regularisation_weighting)
        sweeps = self._sweeps = FieldSweeps(
            transform,
            self.operator.kernel,
            (fidelity if from_nothing else fidelity.continued()).on(transform, field, weight, self.unit),
            regulariser.on(transform, self._spacing, alpha, voxel_weights, self.unit),
            self._background,
        )
        return ADMM(sweeps, settings, problem.mask)

    def weigh(self, data_weight: NDArray) -> None:
        """Let the last engine go on with another data weight W (nx, ny, nz)."""
        assert self._sweeps is not None  # there has been an engine
        self._sweeps.weigh(data_weight)

    def solution(self, outcome: Outcome, details: dict[str, Any]) -> Solution:
        """Wrap up an outcome."""
        problem = self._problem
        fitted = self._in_ppm(self.operator.forward_padded(outcome.image))
        images = {}
        if self._background is not None:
            nx, ny, nz = problem.grid.shape
            total = self._in_ppm(host(self._background.total_field[:nx, :ny, :nz]))
            images["background_field_ppm"] = np.where(problem.mask, total - fitted, 0).astype(np.float32)
            fitted = total
        return Solution(
            self._in_ppm(self.operator.crop(outcome.image)),
            fitted,
            outcome.stop_reason,
            outcome.history,
            details={
                "rad_per_ppm": self.unit if self._composition.fidelity.of_phase else None,
                "padded_shape": list(self.operator.padded_grid.shape),
                "field_penalty": self._field_penalty,
                **({} if self._background is None else {"harmonic_penalty": self._background.penalty}),
                "map_distance": outcome.distance if math.isfinite(outcome.distance) else None,
                **details,
            },
            images=images,
        )

    def inside(self, image_ppm: NDArray) -> NDArray:
        """Bring an image in ppm into the unit that everything inside is in."""
        if self.unit == 1.0:
            return image_ppm
        return image_ppm * self.operator.transform.dtype.type(self.unit)

    def _in_ppm(self, image: NDArray) -> NDArray:
        if self.unit == 1.0:
            return image
        return image / self.operator.transform.dtype.type(self.unit)

    def _weak_harmonic(self, field_penalty: float) -> WeakHarmonic | None:
        background, area = self._composition.background, self._voxel**2
        if background is None:
            return None
        return WeakHarmonic(
            self.operator.transform,
            self._spacing,
            self._problem.mask,
            HARMONIC_WEIGHT * area**2 if background.weight is None else background.weight,
            background.penalty or HARMONIC_PENALTY_RATIO * field_penalty * area**2,
            balance=background.penalty is None,
        )

    def _settings(self, alpha: float, field: NDArray, weight: NDArray) -> ADMMSettings:
        """Settings of the loop; penalties follow the data, so that rescaling field and alpha rescales the iterates."""
        solver, composition, thresholds = self._solver, self._composition, self._thresholds
        spread = max(float(np.std(field, dtype=np.float64)), 1e-12)
        if composition.fidelity.power == 1:
            field_penalty = float(np.mean(weight, dtype=np.float64)) / (thresholds.residual * spread)
        else:
            field_penalty = composition.regulariser.field_penalty * float(np.mean(np.square(weight, dtype=np.float64)))
        self._field_penalty = solver.field_penalty or field_penalty
        return solver.admm_settings(
            alpha * self._voxel / (thresholds.gradient * spread),
            field_penalty=self._field_penalty,
            units_per_ppm=self.unit,
            fidelity_power=composition.fidelity.power,
            early_threshold=1.0 if solver.balance or solver.gradient_penalty else thresholds.early,
            relaxation=min(solver.relaxation, CAUTIOUS_RELAXATION) if thresholds is CAUTIOUS else solver.relaxation,
            negligible=NEGLIGIBLE * spread,
        )
