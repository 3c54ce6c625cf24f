"""Gauss-Newton with lagged diffusivity for methods of the MEDI type.

Minimises  fidelity(D χ) + alpha Σ sqrt((M ∇χ)² + e²) + ½ beta ‖χ - mean χ‖² over a region.  Each outer iteration
replaces the fidelity by a quadratic of curvature W² in the field and the root by a quadratic with the weights V of
the present χ, and solves the linear system that follows by conjugate gradient, inexactly.  Both quadratics lie above
what they stand for wherever the fidelity's curvature is at most W², so the objective falls at every outer iteration,
however few inner iterations are done.

References
----------
Liu et al., Magn Reson Med 69:467-476 (2013), doi 10.1002/mrm.24272.
Vogel and Oman, SIAM J Sci Comput 17:227-238 (1996): lagged diffusivity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.arrays import beside, square_sum
from qsm_recon.engines.conjugate_gradient import (
    ImageConjugateGradient,
    LinearOutcome,
    NormalSystem,
    SpectralConjugateGradient,
)
from qsm_recon.engines.interrupt import Interruption
from qsm_recon.engines.loop import Loop, Outcome
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.result import Callback, StopReason
from qsm_recon.terms.field_model import FieldModel
from qsm_recon.terms.morphology import EdgeWeightedVariation, UniformRegion

TINY = 1e-30
SHORTENINGS = 4
SOLVED = 0.5
"""Inner residual, relative to its start, above which a small step says nothing of how far the minimum is."""


@dataclass(frozen=True)
class GaussNewtonSettings:
    """How the loop runs.

    Parameters
    ----------
    max_iterations
        The most outer iterations.
    update_tolerance
        Stop when ‖step‖ / ‖χ‖ falls below this, if its equation was solved (:data:`SOLVED`).
    cg_tolerance
        Inner iterations end when the residual has fallen to this fraction.
    cg_iterations
        The most inner iterations per outer iteration.
    """

    max_iterations: int = 10
    update_tolerance: float = 0.01
    cg_tolerance: float = 0.1
    cg_iterations: int = 20


class GaussNewton(Loop):
    """The loop, its buffers, and nothing of any particular method.

    Parameters
    ----------
    operator
        Dipole operator on the padded grid.
    model
        Data fidelity.
    variation
        Regulariser.
    settings
        How to run.
    region
        Region that is kept uniform, if any.
    scaling
        (nx, ny, nz) voxelwise preconditioner P; None takes the circulant one if ``circulant``, else none.
    outside
        P of the padding.
    circulant
        Precondition in k-space.
    watch
        (nx, ny, nz) voxels in which the size of a step is measured; None for all.
    """

    def __init__(
        self,
        operator: DipoleOperator,
        model: FieldModel,
        variation: EdgeWeightedVariation,
        settings: GaussNewtonSettings,
        *,
        region: UniformRegion | None = None,
        scaling: NDArray | None = None,
        outside: float = 1.0,
        circulant: bool = False,
        watch: NDArray[np.bool_] | None = None,
    ) -> None:
        transform = operator.transform
        self._transform = transform
        self._model = model
        self._variation = variation
        self._settings = settings
        self._region = region
        self._watch = watch
        self._system = NormalSystem(transform, operator.kernel, model.squared_weight, variation, region)
        self._linear: ImageConjugateGradient | SpectralConjugateGradient = (
            SpectralConjugateGradient(self._system)
            if circulant and scaling is None
            else ImageConjugateGradient(self._system, scaling, outside)
        )
        self._last = math.inf
        self._image = transform.empty_image()
        self._predicted = transform.empty_image()
        self._derivative = transform.empty_image()
        self._spectrum = transform.empty_spectrum()
        self._slabs = transform.slabs()
        self._work = [transform.empty_block() for _ in self._slabs]

    def run(self, start: NDArray | None = None, callback: Callback | None = None) -> Outcome:
        """Iterate until convergence, the iteration limit, a callback's veto or Ctrl-C.

        Parameters
        ----------
        start
            (nx, ny, nz) susceptibility to start from; zero where absent.
        callback
            See :data:`qsm_recon.result.Callback`; called after every outer iteration.
        """
        if start is not None:
            nx, ny, nz = start.shape
            self._image[:nx, :ny, :nz] = self._transform.array(start)
        self._predict()
        self._last = self._objective(self._evaluate())["objective"]
        return self._loop(self._settings.max_iterations, callback)

    @property
    def provisional(self) -> bool:
        """See :class:`Loop`."""
        return self._model.provisional

    def _prepare(self, iteration: int, last: dict[str, float]) -> None:
        """See :class:`Loop`."""
        if self._model.begin_outer(iteration, self._predicted):
            self._last = self._objective(self._evaluate())["objective"]
        self._model.accept()

    def _step(self, iteration: int, interruption: Interruption) -> dict[str, float]:
        """See :class:`Loop`; an outer iteration."""
        step, linear = self._solve(interruption)
        values = self._take(step, self._last)
        self._last = values["objective"]
        return values | {"cg_iterations": float(linear.iterations), "cg_residual": linear.relative_residual}

    def _reason_to_stop(
        self, iteration: int, values: dict[str, float], history: dict[str, list[float]], provisional: bool
    ) -> StopReason | None:
        """See :class:`Loop`."""
        small = not provisional and values["update"] <= self._settings.update_tolerance
        return StopReason.UPDATE if small and values["cg_residual"] <= SOLVED else None

    @property
    def image(self) -> NDArray:
        """The present χ, an image buffer."""
        return self._image

    @property
    def predicted(self) -> NDArray:
        """Field of the present χ, an image buffer."""
        return self._predicted

    def _predict(self) -> None:
        """Field of the present χ."""
        transform = self._transform
        image, predicted = transform.image_view(self._image), transform.image_view(self._predicted)
        spectrum = transform.spectrum_view(self._spectrum)
        transform.for_planes(lambda _slab, _start, a, b: transform.blocks().forward_planes(image[a:b], spectrum[a:b]))
        self._system.filter_rows(self._spectrum)
        transform.for_planes(
            lambda _slab, _start, a, b: transform.blocks().inverse_planes(spectrum[a:b], predicted[a:b])
        )

    def _evaluate(self) -> float:
        """Fidelity of the predicted field; its derivative by the field is kept."""
        shares = self._transform.for_planes(
            lambda _slab, _start, a, b: self._model.evaluate(self._predicted[a:b], a, self._derivative[a:b])
        )
        return float(np.sum(shares))

    def _objective(self, fidelity: float) -> dict[str, float]:
        """All terms at the present χ; takes the lagged weights V from it."""
        variation = self._variation.relinearise(self._image)
        reference = 0.0 if self._region is None else self._region.prepare(self._image)
        return {
            "objective": fidelity + self._variation.weight * variation + reference,
            "fidelity": fidelity,
            "regularisation": variation,
        }

    def _solve(self, interruption: Interruption) -> tuple[NDArray, LinearOutcome]:
        """Turn the derivative into the right-hand side and solve the linearised problem."""
        transform = self._transform
        derivative = transform.image_view(self._derivative)
        spectrum = transform.spectrum_view(self._spectrum)
        transform.for_planes(
            lambda _slab, _start, a, b: transform.blocks().forward_planes(derivative[a:b], spectrum[a:b])
        )
        self._system.filter_rows(self._spectrum)

        def receive(slab: int, _start: int, a: int, b: int) -> None:
            transform.blocks().inverse_planes(spectrum[a:b], derivative[a:b])
            work = self._work[slab][: b - a]
            self._system.smooth_planes(self._image, a, b, work)
            derivative[a:b] += work[..., : transform.shape[2]]
            derivative[a:b] *= -1

        transform.for_planes(receive, self._slabs)
        settings = self._settings
        return self._linear.solve(
            self._derivative, settings.cg_tolerance, settings.cg_iterations, lambda: interruption.requested
        )

    def _take(self, step: NDArray, before: float) -> dict[str, float]:
        """Add the step, or where the objective would rise a shorter one."""
        self._image += step
        for shortening in range(SHORTENINGS + 1):
            self._predict()
            values = self._objective(self._evaluate())
            # The allowance is for rounding of single-precision sums.
            if not self._model.may_rise or not values["objective"] > before * (1 + 1e-6) or shortening == SHORTENINGS:
                break
            step *= 0.5
            self._image -= step
        return {**values, "update": self._relative_size(step)}

    def _relative_size(self, step: NDArray) -> float:
        new, change = self._image, step
        if self._watch is not None:
            nx, ny, nz = self._watch.shape
            inside = beside(self._watch, new)
            new, change = new[:nx, :ny, :nz][inside], change[:nx, :ny, :nz][inside]
        return math.sqrt(square_sum(change) / max(square_sum(new), TINY))
