"""Total variation, and what else is a function of each component of the gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from qsm_recon.backend.fft import FourierTransform
from qsm_recon.backend.kernels.gradient import incoming_differences, shrink_gradient
from qsm_recon.operators.gradient import Spacing
from qsm_recon.terms.regulariser.base import (
    GradientSplitting,
    Regulariser,
    Slabs,
    VoxelWeights,
    shrinkage_settings,
    squared_symbols,
)


@dataclass(frozen=True)
class TotalVariation(Regulariser):
    """alpha ‖w ∇χ‖₁, componentwise (anisotropic), on a periodic grid.

    Another function of the components is a subclass with kernels of its own, two lines each
    (:mod:`qsm_recon.backend.kernels.gradient`).
    """

    name: ClassVar[str] = "tv"

    def kernels(self) -> tuple[Callable[..., None], Callable[..., Any]]:
        """Return what fills in the differences that a slab begins with, and the step itself."""
        return incoming_differences, shrink_gradient

    def numbers(self, scale: float) -> tuple[float, ...]:
        """Return numbers that the kernels are given, in the unit of the gradient of χ, of which a ppm has ``scale``."""
        return ()

    def on(
        self,
        transform: FourierTransform,
        spacing: Spacing,
        weight: float,
        voxel_weights: NDArray | None = None,
        scale: float = 1.0,
    ) -> GradientSplitting:
        """See :class:`Regulariser`."""
        return ComponentSplitting(self, transform, spacing, weight, voxel_weights, scale)


class ComponentSplitting:
    """The splitting z ≈ ∇χ of a function of each component; parameters are those of :meth:`Regulariser.on`."""

    groups: tuple[str, ...] = ("gradient",)
    coupling = 0.0

    def __init__(
        self,
        regulariser: TotalVariation,
        transform: FourierTransform,
        spacing: Spacing,
        weight: float,
        voxel_weights: NDArray | None = None,
        scale: float = 1.0,
    ) -> None:
        real = transform.dtype.type
        self._transform = transform
        self._incoming, self._shrink = regulariser.kernels()
        self._numbers = tuple(real(number) for number in regulariser.numbers(scale))
        self.weights: tuple[float, ...] = (weight,)
        hx, hy, hz = (real(1.0 / h) for h in spacing)
        self._inverse_spacing = (hx, hy, hz)
        shape = transform.empty_image(1).shape[1:]
        self._state = transform.zeros((3, transform.shape[0], *shape))
        self._voxel_weights = VoxelWeights(transform, voxel_weights).buffer
        self.spectra = transform.empty_spectrum()[None]
        self.symbols = squared_symbols(transform, spacing)
        self._old_penalty: float | None = None
        self._carried: list[NDArray] = []
        self._work: list[NDArray] = []

    def rescale(self, factor: float) -> None:
        """See :class:`GradientSplitting`; the scaled dual s is that of a penalty which grows along."""
        self.weights = (self.weights[0] * factor,)
        self._old_penalty = None if self._old_penalty is None else self._old_penalty * factor

    def receive(self, slab: int, first: int, last: int) -> None:
        """Nothing: χ is all there is."""

    def begin_iteration(self, image: NDArray, slabs: Slabs, penalty: float, relaxation: float) -> None:
        """See :class:`GradientSplitting`."""
        transform = self._transform
        if len(self._carried) != len(slabs):
            self._carried = [transform.empty_image(1)[0] for _ in slabs]
            self._work = [transform.empty_block() for _ in slabs]
        self._settings = shrinkage_settings(transform, self.weights[0], self._old_penalty, penalty, relaxation)
        self._old_penalty = penalty
        valid = transform.image_view(image)
        for (start, _), plane in zip(slabs, self._carried, strict=True):
            self._incoming(
                valid, self._state, self._voxel_weights, start, self._inverse_spacing[0], *self._settings,
                self._numbers, plane,
            )  # fmt: skip

    def step(self, image: NDArray, slab: int, first: int, last: int) -> tuple[float, ...]:
        """See :class:`GradientSplitting`."""
        transform = self._transform
        work = self._work[slab][: last - first]
        sums: tuple[float, ...] = self._shrink(
            image,
            self._state,
            self._voxel_weights,
            first,
            last,
            transform.shape[2],
            self._inverse_spacing,
            *self._settings,
            self._numbers,
            self._carried[slab],
            image[last % image.shape[0]],
            work,
        )
        spectrum = transform.spectrum_view(self.spectra[0])
        transform.blocks().forward_planes(transform.image_view(work), spectrum[first:last])
        return sums

    def reduce_rows(self, first: int, last: int, penalty: float) -> None:
        """Nothing is coupled to χ."""

    def restore_rows(self, first: int, last: int, penalty: float) -> None:
        """Nothing is coupled to χ."""
