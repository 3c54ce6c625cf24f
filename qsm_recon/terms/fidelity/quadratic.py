"""The quadratic data fidelity, and the scalar step that it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from qsm_recon.backend.field_sweep import sweep
from qsm_recon.backend.jit import inline, kernel
from qsm_recon.terms.fidelity.base import Fidelity, Step, Sums

Scalar = Any  # a number of either precision
HALF = np.float32(0.5)


@inline
def quadratic(
    field: Scalar,
    stored: Scalar,
    measured: Scalar,
    weight: Scalar,
    dual_scale: Scalar,
    penalty: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
) -> Step:
    """Step of ½ W² (z - φ)²; z is all that is stored, since mu s = W² (z - φ) at the optimum."""
    q = stored + relaxation * (field - stored) + dual_scale * weight * (stored - measured)
    new = (weight * measured + penalty * q) / (weight + penalty)
    return new, stored, q - new, new, HALF * weight * (field - measured) * (field - measured)


@kernel
def quadratic_step(
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
    """:func:`quadratic` at every voxel of a block of planes; arguments as for :func:`backend.field_sweep.sweep`."""
    return sweep(quadratic, predicted, state, measured, weight, first, nz, dual_scale, penalty, relaxation, numbers)


@dataclass(frozen=True)
class QuadraticFidelity(Fidelity):
    """½‖W (D χ - φ)‖²."""

    name: ClassVar[str] = "quadratic"

    def step(self, dtype: DTypeLike) -> Callable[..., Sums]:
        """See :class:`Fidelity`."""
        return quadratic_step
