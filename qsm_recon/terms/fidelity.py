"""Data fidelities for the ADMM engine.

A fidelity owns the splitting z ≈ D χ: its state, and the proximal step with dual update on a block of planes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.fft import FourierTransform
from qsm_recon.terms.turns import TURN, whole_turns

Sums = tuple[float, float, float, float, float]


class Fidelity(Protocol):
    """What the ADMM engine asks of a data fidelity."""

    field_energy: float
    """|φ|², beside which |D χ - z|² must be small."""

    @property
    def provisional(self) -> bool:
        """Whether another function stands in for it in the next iteration."""

    def start(self, penalty: float, out: NDArray) -> None:
        """Set the state for χ = 0 and write z - s into a padded image buffer."""

    def start_from(self, predicted: NDArray) -> None:
        """Set the state for zero duals and a D χ that is given in a padded image buffer."""

    def step(self, predicted: NDArray, first: int, penalty: float, relaxation: float) -> Sums:
        """Proximal step and dual update on planes; ``predicted`` (D χ) is replaced by z - s.

        Returns sums of the fidelity at D χ, |D χ - z|², |z - z_old|², |z|² and |s|².
        """

    def finish_iteration(self, penalty: float) -> None:
        """Note that every plane has been stepped with this penalty."""

    def run_on(self) -> None:
        """Prepare for another regularisation weight, from the state reached with the one before."""


class _WeightedFidelity:
    """Buffers common to all fidelities."""

    power: ClassVar[int]
    """Power in which the weight W enters."""

    def __init__(self, transform: FourierTransform, field: NDArray, weight: NDArray) -> None:
        self._transform = transform
        self._field = transform.load_image(field)
        self.field_energy = float(np.sum(np.square(field, dtype=np.float64)))
        self._weight = transform.load_image(weight)
        if self.power == 2:
            self._weight *= self._weight
        self._state = transform.empty_image()

    @property
    def provisional(self) -> bool:
        """See :class:`Fidelity`."""
        return False

    def finish_iteration(self, penalty: float) -> None:
        """See :class:`Fidelity`; nothing to note where the penalty stays."""

    def run_on(self) -> None:
        """See :class:`Fidelity`; nothing to prepare."""

    @abstractmethod
    def _run(
        self, kernel: Callable[..., Sums], predicted: NDArray, first: int, penalty: float, relaxation: float
    ) -> Sums:
        """Call a kernel on a block of planes."""

    def _choose(self, single: Callable[..., Sums], double: Callable[..., Sums]) -> Callable[..., Sums]:
        return single if self._transform.dtype == np.float32 else double


class _SquaredFidelity(_WeightedFidelity):
    """Fidelities with a squared weight, whose dual follows from z alone."""

    power = 2

    def __init__(self, transform: FourierTransform, field: NDArray, weight: NDArray) -> None:
        super().__init__(transform, field, weight)
        self._dual_scale = 0.0

    def start(self, penalty: float, out: NDArray) -> None:
        """See :class:`Fidelity`: z = W² φ / (W² + mu2), s = 0."""
        self._state[...] = self._weight
        self._state *= self._field
        self._state /= self._weight + self._transform.dtype.type(penalty)
        out[...] = self._state
        self._dual_scale = 0.0

    def start_from(self, predicted: NDArray) -> None:
        """See :class:`Fidelity`: z = D χ, so that a nonlinear fidelity stays at its turns."""
        self._state[...] = predicted
        self._dual_scale = 0.0

    def finish_iteration(self, penalty: float) -> None:
        """See :class:`Fidelity`."""
        self._dual_scale = 1.0 / penalty

    def _run(
        self, kernel: Callable[..., Sums], predicted: NDArray, first: int, penalty: float, relaxation: float
    ) -> Sums:
        real = self._transform.dtype.type
        return kernel(
            predicted,
            self._state,
            self._field,
            self._weight,
            first,
            self._transform.shape[2],
            real(self._dual_scale),
            real(penalty),
            real(relaxation),
        )


class _AbsoluteFidelity(_WeightedFidelity):
    """Fidelities in the l1 norm; z - φ and the dual share one number."""

    power = 1

    def start(self, penalty: float, out: NDArray) -> None:
        """See :class:`Fidelity`: z = φ, s = 0."""
        self._state[...] = 0
        out[...] = self._field

    def start_from(self, predicted: NDArray) -> None:
        """See :class:`Fidelity`: the first step does not depend on what z was."""
        self._state[...] = 0

    def _run(
        self, kernel: Callable[..., Sums], predicted: NDArray, first: int, penalty: float, relaxation: float
    ) -> Sums:
        real = self._transform.dtype.type
        nz = self._transform.shape[2]
        return kernel(predicted, self._state, self._field, self._weight, first, nz, real(penalty), real(relaxation))


class _NonlinearFidelity(_WeightedFidelity):
    """A nonlinear fidelity, whose function of the residual d = D χ - φ repeats itself with every turn, or holds on.

    Parameters are those of :class:`QuadraticFidelity`, and

    convex_iterations
        None: wraps that φ shows by itself are taken out of it, and beyond one radian the function goes on with the
        slope of the linear fidelity (:mod:`qsm_recon.backend.held_kernels`), so that there are no other minima in which
        strong sources are given up.  A number above 0: the same wraps are taken out, and the published function follows
        after so many iterations with the linear fidelity.  0: as published.
    """

    def __init__(
        self, transform: FourierTransform, field: NDArray, weight: NDArray, convex_iterations: int | None = 0
    ) -> None:
        self._holds = convex_iterations is None
        if convex_iterations != 0:
            field = field - transform.dtype.type(TURN) * whole_turns(field, weight > 0)
        super().__init__(transform, field, weight)
        self._convex_iterations = convex_iterations or 0
        self._linear_left = self._convex_iterations

    @property
    def provisional(self) -> bool:
        """See :class:`Fidelity`."""
        return self._linear_left > 0

    def step(self, predicted: NDArray, first: int, penalty: float, relaxation: float) -> Sums:
        """See :class:`Fidelity`."""
        return self._run(self._kernel(linear=self.provisional), predicted, first, penalty, relaxation)

    def finish_iteration(self, penalty: float) -> None:
        """See :class:`Fidelity`."""
        super().finish_iteration(penalty)
        self._linear_left -= 1

    def run_on(self) -> None:
        """See :class:`Fidelity`; the linear fidelity stands in again."""
        self._linear_left = self._convex_iterations

    @abstractmethod
    def _kernel(self, *, linear: bool) -> Callable[..., Sums]:
        """Return the kernel of the nonlinear or of the linear fidelity."""


class QuadraticFidelity(_SquaredFidelity):
    """½‖W (D χ - φ)‖².

    Parameters
    ----------
    transform
        Of the padded grid.
    field
        (nx, ny, nz) local field φ, in the unit of χ.
    weight
        (nx, ny, nz) data weight W; zero where the field is unknown.
    """

    def step(self, predicted: NDArray, first: int, penalty: float, relaxation: float) -> Sums:
        """See :class:`Fidelity`."""
        from qsm_recon.backend.field_kernels import quadratic_step

        return self._run(quadratic_step, predicted, first, penalty, relaxation)


class NonlinearFidelity(_NonlinearFidelity, _SquaredFidelity):
    """½‖W (exp(i D χ) - exp(i φ))‖² = Σ W² (1 - cos d), with χ and φ in rad.

    Where it holds on to its turn, the slope beyond one radian rises as that of ½ d²: the function is convex.

    (Milovic et al., MRM 2018, doi 10.1002/mrm.27073, who start with the nonlinear fidelity at once.)
    """

    def _kernel(self, *, linear: bool) -> Callable[..., Sums]:
        from qsm_recon.backend.field_kernels import nonlinear_step_double, nonlinear_step_single, quadratic_step
        from qsm_recon.backend.held_kernels import held_square_step

        if linear:
            return quadratic_step
        return held_square_step if self._holds else self._choose(nonlinear_step_single, nonlinear_step_double)


class AbsoluteFidelity(_AbsoluteFidelity):
    """‖W (D χ - φ)‖₁; parameters are those of :class:`QuadraticFidelity`, W not squared.

    (Milovic et al., MRM 2022, doi 10.1002/mrm.28957.)
    """

    def step(self, predicted: NDArray, first: int, penalty: float, relaxation: float) -> Sums:
        """See :class:`Fidelity`."""
        from qsm_recon.backend.l1_kernels import absolute_step

        return self._run(absolute_step, predicted, first, penalty, relaxation)


class NonlinearAbsoluteFidelity(_NonlinearFidelity, _AbsoluteFidelity):
    """‖W (exp(i D χ) - exp(i φ))‖₁, with χ and φ in rad, W not squared.

    Its pull falls with the size of a residual, at every size; where it holds on to its turn, that beyond one radian is
    the linear fidelity's.

    (Milovic et al., MRM 2022, doi 10.1002/mrm.28957, who split it twice; one exact proximal step does the same.)
    """

    def _kernel(self, *, linear: bool) -> Callable[..., Sums]:
        from qsm_recon.backend.held_kernels import held_step
        from qsm_recon.backend.l1_kernels import absolute_step, chord_step_double, chord_step_single

        if linear:
            return absolute_step
        return held_step if self._holds else self._choose(chord_step_single, chord_step_double)
