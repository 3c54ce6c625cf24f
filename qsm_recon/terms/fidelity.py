"""Data fidelities for the ADMM engine.

A fidelity owns the splitting z ≈ D χ: its state, and the proximal step with dual update on a block of planes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.fft import FourierTransform

Sums = tuple[float, float, float, float, float]


class Fidelity(Protocol):
    """What the ADMM engine asks of a data fidelity."""

    @property
    def provisional(self) -> bool:
        """Whether another function stands in for it in the next iteration."""

    def start(self, penalty: float, out: NDArray) -> None:
        """Set the state for χ = 0 and write z - s into a padded image buffer."""

    def step(self, predicted: NDArray, first: int, penalty: float, relaxation: float) -> Sums:
        """Proximal step and dual update on planes; ``predicted`` (D χ) is replaced by z - s.

        Returns sums of the fidelity at D χ, |D χ - z|², |z - z_old|², |z|² and |s|².
        """

    def finish_iteration(self, penalty: float) -> None:
        """Note that every plane has been stepped with this penalty."""


class _WeightedFidelity:
    """Buffers common to all fidelities."""

    power: ClassVar[int]
    """Power in which the weight W enters."""

    def __init__(self, transform: FourierTransform, field: NDArray, weight: NDArray) -> None:
        self._transform = transform
        self._field = transform.load_image(field)
        self._weight = transform.load_image(weight)
        if self.power == 2:
            np.square(self._weight, out=self._weight)
        self._state = transform.empty_image()

    @property
    def provisional(self) -> bool:
        """See :class:`Fidelity`."""
        return False

    def finish_iteration(self, penalty: float) -> None:
        """See :class:`Fidelity`; nothing to note where the penalty stays."""

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
        np.multiply(self._weight, self._field, out=self._state)
        self._state /= self._weight + self._transform.dtype.type(penalty)
        out[...] = self._state
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

    def _run(
        self, kernel: Callable[..., Sums], predicted: NDArray, first: int, penalty: float, relaxation: float
    ) -> Sums:
        real = self._transform.dtype.type
        nz = self._transform.shape[2]
        return kernel(predicted, self._state, self._field, self._weight, first, nz, real(penalty), real(relaxation))


class _ConvexStart(_WeightedFidelity):
    """Counts the first iterations, in which a nonlinear fidelity is replaced by a convex one.

    From χ = 0 a field of more than half a turn would be taken for a wrap; the convex iterations bring D χ near φ where
    the model explains it, and leave wraps in the map alone, because the pull of a residual is bounded.
    """

    def __init__(
        self, transform: FourierTransform, field: NDArray, weight: NDArray, convex_iterations: int = 0
    ) -> None:
        super().__init__(transform, field, weight)
        self._convex_iterations_left = convex_iterations

    @property
    def provisional(self) -> bool:
        """See :class:`Fidelity`."""
        return self._convex_iterations_left > 0

    def finish_iteration(self, penalty: float) -> None:
        """See :class:`Fidelity`."""
        super().finish_iteration(penalty)
        self._convex_iterations_left -= 1


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


class NonlinearFidelity(_ConvexStart, _SquaredFidelity):
    """½‖W (exp(i D χ) - exp(i φ))‖², with χ and φ in rad.

    Parameters are those of :class:`QuadraticFidelity`, and ``convex_iterations``: how many iterations are done first
    with Huber's function, ½ d² up to a residual of one radian and linear beyond, in place of 1 - cos d.
    (Milovic et al., MRM 2018, doi 10.1002/mrm.27073, who start with the nonlinear fidelity at once.)
    """

    def start(self, penalty: float, out: NDArray) -> None:
        """See :class:`Fidelity`; under Huber's function z is at most W² / mu2 away from zero."""
        super().start(penalty, out)
        if self.provisional:
            bound = self._weight / self._transform.dtype.type(penalty)
            np.clip(self._state, -bound, bound, out=self._state)
            out[...] = self._state

    def step(self, predicted: NDArray, first: int, penalty: float, relaxation: float) -> Sums:
        """See :class:`Fidelity`."""
        from qsm_recon.backend.field_kernels import huber_step, nonlinear_step_double, nonlinear_step_single

        if self.provisional:
            return self._run(huber_step, predicted, first, penalty, relaxation)
        kernel = self._choose(nonlinear_step_single, nonlinear_step_double)
        return self._run(kernel, predicted, first, penalty, relaxation)


class AbsoluteFidelity(_AbsoluteFidelity):
    """‖W (D χ - φ)‖₁; parameters are those of :class:`QuadraticFidelity`, W not squared.

    (Milovic et al., MRM 2022, doi 10.1002/mrm.28957.)
    """

    def step(self, predicted: NDArray, first: int, penalty: float, relaxation: float) -> Sums:
        """See :class:`Fidelity`."""
        from qsm_recon.backend.l1_kernels import absolute_step

        return self._run(absolute_step, predicted, first, penalty, relaxation)


class NonlinearAbsoluteFidelity(_ConvexStart, _AbsoluteFidelity):
    """‖W (exp(i D χ) - exp(i φ))‖₁, with χ and φ in rad; W not squared.

    Parameters are those of :class:`QuadraticFidelity`, and ``convex_iterations``: how many iterations are done first
    with the linear l1 fidelity.

    (Milovic et al., MRM 2022, doi 10.1002/mrm.28957, who split it twice; one exact proximal step does the same.)
    """

    def step(self, predicted: NDArray, first: int, penalty: float, relaxation: float) -> Sums:
        """See :class:`Fidelity`."""
        from qsm_recon.backend.l1_kernels import absolute_step, chord_step_double, chord_step_single

        if self.provisional:
            return self._run(absolute_step, predicted, first, penalty, relaxation)
        kernel = self._choose(chord_step_single, chord_step_double)
        return self._run(kernel, predicted, first, penalty, relaxation)
