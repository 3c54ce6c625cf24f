"""Data fidelities for the ADMM engine.

A fidelity owns the splitting z ≈ D χ: its state, and the proximal step with dual update on a block of planes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.fft import FourierTransform

Sums = tuple[float, float, float, float, float]


class Fidelity(Protocol):
    """What the ADMM engine asks of a data fidelity."""

    def start(self, penalty: float, out: NDArray) -> None:
        """Set the state for χ = 0 and write z - s into a padded image buffer."""

    def step(self, predicted: NDArray, first: int, penalty: float, relaxation: float) -> Sums:
        """Proximal step and dual update on planes; ``predicted`` (D χ) is replaced by z - s.

        Returns sums of the fidelity at D χ, |D χ - z|², |z - z_old|², |z|² and |s|².
        """

    def finish_iteration(self, penalty: float) -> None:
        """Note that every plane has been stepped with this penalty."""


class _WeightedFidelity:
    """State and bookkeeping common to the fidelities with a squared weight."""

    def __init__(self, transform: FourierTransform, field: NDArray, weight: NDArray) -> None:
        self._transform = transform
        self._field = transform.load_image(field)
        self._weight = transform.load_image(weight)
        np.square(self._weight, out=self._weight)
        self._split = transform.empty_image()
        self._dual_scale = 0.0

    def start(self, penalty: float, out: NDArray) -> None:
        mu = self._transform.dtype.type(penalty)
        np.multiply(self._weight, self._field, out=self._split)
        self._split /= self._weight + mu
        out[...] = self._split
        self._dual_scale = 0.0

    def finish_iteration(self, penalty: float) -> None:
        self._dual_scale = 1.0 / penalty

    def _run(
        self, kernel: Callable[..., Sums], predicted: NDArray, first: int, penalty: float, relaxation: float
    ) -> Sums:
        real = self._transform.dtype.type
        return kernel(
            predicted,
            self._split,
            self._field,
            self._weight,
            first,
            self._transform.shape[2],
            real(self._dual_scale),
            real(penalty),
            real(relaxation),
        )


class QuadraticFidelity(_WeightedFidelity):
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


class NonlinearFidelity(_WeightedFidelity):
    """½‖W (exp(i D χ) - exp(i φ))‖², with χ and φ in rad.

    Parameters are those of :class:`QuadraticFidelity`.  (Milovic et al., MRM 2018, doi 10.1002/mrm.27073.)
    """

    def step(self, predicted: NDArray, first: int, penalty: float, relaxation: float) -> Sums:
        """See :class:`Fidelity`."""
        from qsm_recon.backend.field_kernels import nonlinear_step_double, nonlinear_step_single

        single = self._transform.dtype == np.float32
        return self._run(
            nonlinear_step_single if single else nonlinear_step_double, predicted, first, penalty, relaxation
        )
