"""A plug-in that brings terms: Huber's data fidelity, a rounded total variation, and a method made of the first."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qsm_recon.backend.field_sweep import proximal_sweep
from qsm_recon.backend.jit import inline, kernel
from qsm_recon.backend.scalars import limited, smaller
from qsm_recon.parameters import parameter
from qsm_recon.solvers.composition import Composition
from qsm_recon.solvers.default_weights import scale_of
from qsm_recon.solvers.variational import VariationalSolver
from qsm_recon.terms.fidelity import Fidelity

ONE, HALF = np.float32(1), np.float32(0.5)  # Python's numbers would make the loop compute in double precision


@inline
def proximal(residual, threshold, numbers):
    """Minimiser d of t h(d) + ½ (d - r)²."""
    return residual - limited(residual * threshold / (ONE + threshold), threshold * numbers[0])


@inline
def huber(residual, numbers):
    """½ d² up to the knee, beyond with the slope that it has there."""
    near = smaller(abs(residual), numbers[0])
    return near * (abs(residual) - HALF * near)


@kernel
def step(predicted, state, measured, weight, first, nz, dual_scale, penalty, relaxation, numbers):
    """The step at every voxel."""
    return proximal_sweep(proximal, huber, predicted, state, measured, weight, first, nz, penalty, relaxation, numbers)


@dataclass(frozen=True)
class OwnHuber(Fidelity):
    """Σ W² h(D χ - φ)."""

    name: ClassVar[str] = "own-huber"
    stores_residual: ClassVar[bool] = True
    knee: float = 0.01

    def step(self, dtype):
        """See the base class."""
        return step

    def numbers(self, scale):
        """See the base class."""
        return (self.knee * scale,)


@dataclass(frozen=True)
class HuberTV(VariationalSolver):
    """Σ W² h(D χ - φ) + alpha ‖∇χ‖₁."""

    name: ClassVar[str] = "huber-tv"
    title: ClassVar[str] = "Total variation, Huber's fidelity"
    citation: ClassVar[str] = "Huber, Ann Math Statist 35:73-101 (1964), doi 10.1214/aoms/1177703732"
    scaling_power: ClassVar[int | None] = None  # the knee is one of the field
    knee: float | None = parameter(
        None, "ppm", "residual from which on it is linear; by default three errors", low=1e-6, high=10, kind=float
    )

    def composition(self):
        """See the base class."""
        return Composition(OwnHuber(self.knee))

    def following(self):
        """The knee follows the data where it is not given."""
        return ("knee",)

    def default_of(self, name, problem):
        """Three times the field's error per voxel: rarely passed by noise."""
        return 3 * scale_of(problem).error_ppm
