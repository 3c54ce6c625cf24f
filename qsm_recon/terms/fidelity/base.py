"""What a data fidelity is, and the splitting z ≈ D χ that the ADMM engine keeps of it.

A fidelity is declared by a small frozen object (:class:`Fidelity`); on a grid, with data, it becomes a
:class:`FieldSplitting`, which holds the buffers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from qsm_recon.backend.fft import FourierTransform
from qsm_recon.problem import Problem
from qsm_recon.terms.weights import fidelity_of_noise

Sums = tuple[float, float, float, float, float]
Step = tuple[Any, Any, Any, Any, Any]


@dataclass(frozen=True)
class Fidelity(ABC):
    """A data fidelity: the sum over voxels of a function of D χ and φ, times W to some power.

    Parameters of it are fields of the dataclass.

    Notes
    -----
    A new one needs a name, a power and a kernel, which is a scalar step and one line
    (:mod:`qsm_recon.backend.field_sweep`); for a convex function of the residual its proximal map is enough
    (:func:`qsm_recon.backend.field_sweep.proximal_sweep`).  :func:`qsm_recon.testing.check_term` tells whether they
    fit together.
    """

    name: ClassVar[str]
    citation: ClassVar[str] = ""
    """Papers that a method chosen with it cites besides its own."""
    power: ClassVar[int] = 2
    """Power of a small residual that it grows with, 2 or 1.  W enters in the same power, and the default of the weight
    of the regulariser follows from it."""
    of_phase: ClassVar[bool] = False
    """Whether χ and φ are in rad; else they are in ppm."""
    stores_residual: ClassVar[bool] = False
    """Whether zero stands for z = φ, s = 0 in what is stored of a voxel; else z itself is stored."""

    @abstractmethod
    def step(self, dtype: DTypeLike) -> Callable[..., Sums]:
        """Return the kernel for a precision; arguments as for :func:`qsm_recon.backend.field_sweep.sweep`."""

    def numbers(self, scale: float) -> tuple[float, ...]:
        """Return numbers that the kernel is given, in the unit of the field, of which a ppm has ``scale``."""
        return ()

    @property
    def several_minima(self) -> bool:
        """Whether the result depends on the way there, so that only small steps are safe."""
        return False

    @property
    def stand_in(self) -> tuple[int, Fidelity] | None:
        """A convex fidelity that is minimised first, and for how many iterations; None where this one begins."""
        return None

    def continued(self) -> Fidelity:
        """Return the fidelity for a start from a map, which needs no other to begin with."""
        return self

    def prepared(self, field: NDArray, inside: NDArray[np.bool_]) -> NDArray:
        """Return the field to fit, in the unit of the fidelity; ``inside`` tells where W is not zero."""
        return field

    def noise_level(self, problem: Problem, weight: NDArray) -> float | None:
        """Value that the noise of the field alone would give; None where the noise is unknown."""
        return fidelity_of_noise(problem, weight, self.power)

    def on(self, transform: FourierTransform, field: NDArray, weight: NDArray, scale: float = 1.0) -> FieldSplitting:
        """Return the splitting of it for some data.

        Parameters
        ----------
        transform
            Of the padded grid.
        field
            (nx, ny, nz) local field φ, in ppm times ``scale``.
        weight
            (nx, ny, nz) data weight W; zero where the field is unknown.
        scale
            Units of χ and the field per ppm.
        """
        return FieldSplitting(self, transform, field, weight, scale)


class FieldSplitting:
    """The splitting z ≈ D χ: its state, and the proximal step with dual update on a block of planes.

    Parameters are those of :meth:`Fidelity.on`.
    """

    def __init__(
        self, fidelity: Fidelity, transform: FourierTransform, field: NDArray, weight: NDArray, scale: float = 1.0
    ) -> None:
        self._fidelity = fidelity
        self.transform = transform
        field = fidelity.prepared(field, weight > 0)
        self._field = transform.load_image(field)
        self.field_energy = float(np.sum(np.square(field, dtype=np.float64)))
        """|φ|², beside which |D χ - z|² must be small."""
        self.weigh(weight)
        self._state = transform.empty_image()
        self._numbers = tuple(transform.dtype.type(number) for number in fidelity.numbers(scale))
        self._dual_scale = 0.0
        self._stood_in = 0

    def weigh(self, weight: NDArray) -> None:
        """Take a data weight W (nx, ny, nz); duals that are computed from it follow."""
        self._weight = self.transform.load_image(weight)
        if self._fidelity.power == 2:
            self._weight *= self._weight

    @property
    def provisional(self) -> bool:
        """Whether another function stands in for it in the next iteration."""
        return self._fidelity.stand_in is not None and self._stood_in < self._fidelity.stand_in[0]

    def start(self, penalty: float, out: NDArray) -> None:
        """Set the state for χ = 0 and write z - s into a padded image buffer.

        z is φ, or where it is stored itself W² φ / (W² + mu2), and s = 0.
        """
        self._dual_scale = 0.0
        if self._fidelity.stores_residual:
            self._state[...] = 0
            out[...] = self._field
            return
        self._state[...] = self._weight
        self._state *= self._field
        self._state /= self._weight + self.transform.dtype.type(penalty)
        out[...] = self._state

    def start_from(self, predicted: NDArray) -> None:
        """Set the state for zero duals and a D χ that is given in a padded image buffer, which is kept.

        z is D χ, so that a nonlinear fidelity stays at its turns; where the residual is stored, the first step does not
        depend on it.
        """
        self._dual_scale = 0.0
        if self._fidelity.stores_residual:
            self._state[...] = 0
        else:
            self._state = predicted

    def step(self, predicted: NDArray, first: int, penalty: float, relaxation: float) -> Sums:
        """Proximal step and dual update on planes; ``predicted`` (D χ) is replaced by z - s.

        Returns sums of the fidelity at D χ, |D χ - z|², |z - z_old|², |z|² and |s|².
        """
        real, fidelity = self.transform.dtype.type, self._fidelity
        if self.provisional and fidelity.stand_in is not None:
            fidelity = fidelity.stand_in[1]
        return fidelity.step(self.transform.dtype)(
            predicted,
            self._state,
            self._field,
            self._weight,
            first,
            self.transform.shape[2],
            real(self._dual_scale),
            real(penalty),
            real(relaxation),
            self._numbers,
        )

    def finish_iteration(self, penalty: float) -> None:
        """Note that every plane has been stepped with this penalty."""
        self._dual_scale = 1.0 / penalty
        self._stood_in += 1

    def run_on(self) -> None:
        """Prepare for another regularisation weight, from the state reached; a convex fidelity stands in again."""
        self._stood_in = 0
