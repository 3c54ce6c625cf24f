"""Data fidelities for the Gauss-Newton engine.

A model looks at a predicted field D χ and gives the fidelity there, its derivative by the field, and a curvature W²
of the quadratic that stands for it in the linearised problem.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.arrays import host
from qsm_recon.backend.fft import FourierTransform
from qsm_recon.terms.convex_phase import excess
from qsm_recon.terms.fidelity.chord import LIMIT
from qsm_recon.terms.turns import TURN, whole_turns

RESTS = 0.8
"""Share of the excess that is left after one more outer iteration, from which on it is taken to stay."""


class FieldModel(Protocol):
    """What the Gauss-Newton engine asks of a data fidelity."""

    squared_weight: NDArray
    """W² in an image buffer; may change with every :meth:`evaluate`."""

    may_rise: bool
    """Whether a step of the linearised problem can raise the fidelity, so that the engine must check."""

    @property
    def provisional(self) -> bool:
        """Whether another function stands in for the fidelity in this outer iteration, which then ends no run."""

    def begin_outer(self, iteration: int, predicted: NDArray) -> bool:
        """Prepare outer iteration 1, 2, … at a predicted field; True if that changes the fidelity itself."""

    def evaluate(self, predicted: NDArray, first: int, out: NDArray) -> float:
        """Fill planes with the derivative by the field; returns their share of the fidelity."""

    def accept(self) -> None:
        """Take the last evaluated point as the new reference point."""


class WeightedField:
    """½‖W (exp(i s D χ) - exp(i s φ))‖² / s², or ½‖W (D χ - φ)‖².

    Parameters
    ----------
    transform
        Of the padded grid.
    field
        (nx, ny, nz) field φ in ppm.
    weight
        (nx, ny, nz) data weight W; zero where the field is unknown.
    scale
        s in rad per ppm; None for the quadratic form.
    linear_iterations
        Number of first outer iterations done with the quadratic form.  The sine cannot tell a field from one that
        differs by a turn of phase, so that from χ = 0 strong fields would be taken for wraps.  None for as many as it
        takes, at least one: until no residual exceeds a quarter of a turn, or one more iteration takes less than a
        fifth of what exceeds it; wraps that the map shows by itself are then taken out of it first
        (:func:`qsm_recon.terms.turns.whole_turns`).
    merit
        Whether voxels that do not fit are given less weight (:meth:`begin_outer`).
    holds
        Whether the nonlinear form holds on to its turn: beyond one radian it goes on with a slope that rises as that of
        the quadratic form, so that it is convex, and the same wraps are taken out first.

    Notes
    -----
    1 - cos has no curvature above 1, held to its turn or not: the quadratic with curvature W² lies above the fidelity
    everywhere, and a step that lowers it lowers the fidelity.
    """

    may_rise = False

    def __init__(
        self,
        transform: FourierTransform,
        field: NDArray,
        weight: NDArray,
        scale: float | None = None,
        linear_iterations: int | None = 0,
        *,
        merit: bool = False,
        holds: bool = False,
    ) -> None:
        self._transform = transform
        self._holds = holds and scale is not None
        if scale is not None and (linear_iterations is None or holds):
            field = field - transform.dtype.type(TURN / scale) * whole_turns(field * scale, weight > 0)
        self._field = transform.load_image(field)
        self._inside = weight > 0
        self._weight = weight.astype(transform.dtype)
        self.squared_weight = transform.load_image(np.square(self._weight))
        self._scale = scale
        self._linear = scale is None or linear_iterations != 0
        self._linear_iterations = linear_iterations
        self._excess = np.inf
        self._merit = merit
        self.reweighted_voxels = 0

    def begin_outer(self, iteration: int, predicted: NDArray) -> bool:
        """Turn to the nonlinear form when it is time; reweight outliers (MERIT) from the second iteration on.

        MERIT: with r = W (exp(i s D χ) - exp(i s φ)) less its mean over the mask, voxels where |r| exceeds six
        standard deviations of |r| have W divided by the square of the ratio; W is then brought back to root mean
        square 1.  Reductions accumulate.  (Liu et al., Magn Reson Med 69:467-476 (2013), doi 10.1002/mrm.24272.)
        """
        changed = False
        if self.provisional and iteration > 1 and self._linear_is_done(iteration, predicted):
            self._linear, changed = False, True
        if self._merit and iteration > 1:
            changed = self._reweight(predicted) or changed
        return changed

    @property
    def provisional(self) -> bool:
        """See :class:`FieldModel`."""
        return self._linear and self._scale is not None

    def _linear_is_done(self, iteration: int, predicted: NDArray) -> bool:
        if self._linear_iterations is not None:
            return iteration > self._linear_iterations
        assert self._scale is not None
        nz, before = self._transform.shape[2], self._excess
        self._excess = excess(predicted, self._field, self.squared_weight, 2, 0, nz, 1.0 / self._scale)
        return self._excess == 0 or self._excess >= RESTS * before

    def _reweight(self, predicted: NDArray) -> bool:
        inside, scale = self._inside, 1.0 if self._scale is None else self._scale
        nx, ny, nz = inside.shape
        phase = scale * host(predicted[:nx, :ny, :nz])[inside].astype(np.float64)
        measured = scale * host(self._field[:nx, :ny, :nz])[inside].astype(np.float64)
        residual = self._weight[inside] * (np.exp(1j * phase) - np.exp(1j * measured))
        size = np.abs(residual - residual.mean())
        limit = 6.0 * float(size.std(ddof=1))
        excess = np.maximum(1.0, size / limit) if limit > 0 else np.ones(1)
        self.reweighted_voxels = int((excess > 1).sum())
        if self.reweighted_voxels == 0:
            return False
        weights = self._weight[inside].astype(np.float64) / excess**2
        before = np.sqrt(np.mean(np.square(self._weight[inside], dtype=np.float64)))
        self._weight[inside] = weights * before / np.sqrt(np.mean(weights**2))
        self.squared_weight[:nx, :ny, :nz] = self._transform.array(np.square(self._weight))
        return True

    def evaluate(self, predicted: NDArray, first: int, out: NDArray) -> float:
        """See :class:`FieldModel`."""
        from qsm_recon.backend.kernels import misfit as misfit_kernels

        real = self._transform.dtype.type
        single = self._transform.dtype == np.float32
        misfit = misfit_kernels.sine_misfit_single if single else misfit_kernels.sine_misfit_double
        if self._linear:
            misfit = misfit_kernels.quadratic_misfit
        scale = real(1.0 if self._scale is None else self._scale)
        if self._holds and not self._linear:
            return misfit_kernels.held_misfit(
                predicted, self._field, self.squared_weight, first, self._transform.shape[2], scale, real(LIMIT), out
            )
        return misfit(predicted, self._field, self.squared_weight, first, self._transform.shape[2], scale, out)

    def accept(self) -> None:
        """Nothing to remember."""
