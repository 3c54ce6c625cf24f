"""Huber's data fidelity: squares of small residuals, sizes of large ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from qsm_recon.backend.field_sweep import proximal_sweep
from qsm_recon.backend.jit import inline, kernel
from qsm_recon.backend.scalars import limited, smaller
from qsm_recon.terms.fidelity.base import Fidelity, Sums

Scalar = Any  # a number of either precision
HALF = np.float32(0.5)
ONE = np.float32(1.0)


@inline
def huber_proximal(argument: Scalar, threshold: Scalar, numbers: tuple[Scalar, ...]) -> Scalar:
    """Proximal map of t h(d): the dual is that of ½ d², at most t times the knee."""
    return argument - limited(argument * threshold / (ONE + threshold), threshold * numbers[0])


@inline
def huber(residual: Scalar, numbers: tuple[Scalar, ...]) -> Scalar:
    """h(d) = ½ d² up to the knee, beyond with the slope that it has there."""
    size = abs(residual)
    near = smaller(size, numbers[0])
    return near * (size - HALF * near)


@kernel
def huber_step(
    predicted: NDArray,
    state: NDArray,
    measured: NDArray,
    weight: NDArray,
    first: int,
    nz: int,
    dual_scale: Scalar,
    penalty: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
) -> Sums:
    """:func:`huber_proximal` at every voxel."""
    return proximal_sweep(
        huber_proximal, huber, predicted, state, measured, weight, first, nz, penalty, relaxation, numbers
    )


@dataclass(frozen=True)
class HuberFidelity(Fidelity):
    """Σ W² h(D χ - φ): residuals beyond the knee pull no more than one on it.

    Parameters
    ----------
    knee
        In ppm; some times the field's error.

    References
    ----------
    Huber, Ann Math Statist 35:73-101 (1964), doi 10.1214/aoms/1177703732.
    """

    name: ClassVar[str] = "huber"
    citation: ClassVar[str] = "Huber, Ann Math Statist 35:73-101 (1964), doi 10.1214/aoms/1177703732"
    stores_residual: ClassVar[bool] = True

    knee: float = 0.01

    def step(self, dtype: DTypeLike) -> Callable[..., Sums]:
        """See :class:`Fidelity`."""
        return huber_step

    def numbers(self, scale: float) -> tuple[float, ...]:
        """See :class:`Fidelity`."""
        return (self.knee * scale,)
