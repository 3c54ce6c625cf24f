"""What a regulariser is, and what the ADMM engine asks of the splitting that it keeps of it.

A regulariser is declared by a small frozen object (:class:`Regulariser`); on a grid it becomes a
:class:`GradientSplitting`: its state, the shrinkage with dual update on a block of planes, and its right-hand sides in
k-space, the first of which is that of χ itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.fft import FourierTransform
from qsm_recon.operators.gradient import Spacing, squared_difference_symbol

Slabs = list[tuple[int, int]]


@dataclass(frozen=True)
class Regulariser(ABC):
    """A regulariser: alpha times a sum over voxels of a function of the gradient of χ.

    Parameters of it are fields of the dataclass.
    """

    name: ClassVar[str]
    citation: ClassVar[str] = ""
    """Papers that a method chosen with it cites besides its own."""
    field_penalty: ClassVar[float] = 0.12
    """mu2 over the mean of W² that it does best with, beside a squared fidelity."""
    memory_volumes: ClassVar[float] = 0.0
    """Volumes of the padded grid that it takes beyond what total variation does."""

    @abstractmethod
    def on(
        self,
        transform: FourierTransform,
        spacing: Spacing,
        weight: float,
        voxel_weights: NDArray | None = None,
        scale: float = 1.0,
    ) -> GradientSplitting:
        """Return the splitting of it.

        Parameters
        ----------
        transform
            Of the padded grid.
        spacing
            Distance between voxels that differences are divided by.
        weight
            Regularisation weight alpha, in the unit of χ times that of the spacing.
        voxel_weights
            None, (nx, ny, nz) or (3, nx, ny, nz) factors w on the components of the gradient.
        scale
            Units of χ per ppm.
        """


class GradientSplitting(Protocol):
    """What the ADMM engine asks of the splitting of a regulariser."""

    groups: tuple[str, ...]
    """Names of its splittings."""
    weights: tuple[float, ...]
    """Regularisation weight of each."""
    spectra: NDArray
    """(n, nx, ny, columns) half-transformed right-hand sides, replaced in place by what they solve to."""
    symbols: tuple[NDArray, NDArray, NDArray]
    """|E|² of the differences along each axis."""
    coupling: float
    """mu1 / mu0 where a vector field is folded in; else 0."""

    def rescale(self, factor: float) -> None:
        """Multiply weights and dual variables by a factor, and keep everything else."""

    def receive(self, slab: int, first: int, last: int) -> None:
        """Take its further images, if any, of planes ``first`` to ``last`` out of k-space."""

    def begin_iteration(self, image: NDArray, slabs: Slabs, penalty: float, relaxation: float) -> None:
        """Fix this iteration's penalty, and compute what each slab takes over from the slab before it."""

    def step(self, image: NDArray, slab: int, first: int, last: int) -> tuple[float, ...]:
        """Shrinkage and dual update on planes of a slab; right-hand sides go to k-space.

        Returns for each group the sums of the norm, |d - z|², |z - z_old|², |z|² and |s|².
        """

    def reduce_rows(self, first: int, last: int, penalty: float) -> None:
        """Fold what is coupled to χ into its right-hand side, in k-space."""

    def restore_rows(self, first: int, last: int, penalty: float) -> None:
        """Recover what was folded, now that χ is known."""


class VoxelWeights:
    """Factors on the components of the gradient, in a padded buffer; one where no image is."""

    def __init__(self, transform: FourierTransform, values: NDArray | None) -> None:
        shape = transform.empty_image(1).shape[1:]
        components = 0 if values is None else 1 if values.ndim == 3 else 3
        self.buffer = transform.zeros((components, transform.shape[0], *shape))
        if values is not None:
            stacked = values[None] if values.ndim == 3 else values
            self.buffer[...] = 1
            nx, ny, nz = stacked.shape[1:]
            self.buffer[:, :nx, :ny, :nz] = transform.array(stacked)


def squared_symbols(transform: FourierTransform, spacing: Spacing) -> tuple[NDArray, NDArray, NDArray]:
    """|E|² of the differences along the three axes, in FFT order."""
    x, y, z = (
        transform.array(np.asarray(squared_difference_symbol(n, h), dtype=transform.dtype))
        for n, h in zip(transform.shape, spacing, strict=True)
    )
    return x, y, z


def shrinkage_settings(
    transform: FourierTransform, weight: float, old_penalty: float | None, penalty: float, relaxation: float
) -> tuple[np.floating, np.floating, np.floating, np.floating]:
    """Threshold before and after a change of penalty, the factor on the dual, and over-relaxation, for kernels."""
    real = transform.dtype.type
    old = penalty if old_penalty is None else old_penalty
    return real(weight / old), real(weight / penalty), real(old / penalty), real(relaxation)
