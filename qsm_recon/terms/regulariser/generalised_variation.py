"""Second-order total generalised variation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.fft import FourierTransform
from qsm_recon.backend.kernels.generalised import adjoint_plane, eliminate_vector, recover_vector, shrink_plane
from qsm_recon.operators.gradient import Spacing
from qsm_recon.terms.regulariser.base import (
    GradientSplitting,
    Regulariser,
    Slabs,
    VoxelWeights,
    shrinkage_settings,
    squared_symbols,
)

# mu0 / mu1 over alpha0 / alpha1, in voxels: both thresholds then scale alike.
PENALTY_RATIO = 15.0
# Default of alpha0 / alpha1, in voxels.
WEIGHT_RATIO = 2.0


@dataclass(frozen=True)
class TotalGeneralisedVariation(Regulariser):
    """alpha1 ‖w (∇χ - v)‖₁ + alpha0 ‖ε(v)‖₁, minimised over v as well, on a periodic grid.

    Off-diagonal components of the symmetrised gradient ε count twice.

    Parameters
    ----------
    second_weight_ratio
        alpha0 / alpha1, in the unit of the spacing; twice the voxel's edge where None.

    References
    ----------
    Bredies, Kunisch, Pock, SIAM J Imaging Sci 3:492-526 (2010), doi 10.1137/090769521; in FANSI: Milovic et al., Magn
    Reson Med 80:814-821 (2018), doi 10.1002/mrm.27073.
    """

    name: ClassVar[str] = "tgv"
    citation: ClassVar[str] = "Bredies et al., SIAM J Imaging Sci 3:492-526 (2010), doi 10.1137/090769521"
    field_penalty: ClassVar[float] = 0.08
    memory_volumes: ClassVar[float] = 10.7

    second_weight_ratio: float | None = None

    def on(
        self,
        transform: FourierTransform,
        spacing: Spacing,
        weight: float,
        voxel_weights: NDArray | None = None,
        scale: float = 1.0,
    ) -> GradientSplitting:
        """See :class:`Regulariser`."""
        voxel = math.sqrt(float(np.mean(np.square(spacing))))
        ratio = WEIGHT_RATIO * voxel if self.second_weight_ratio is None else self.second_weight_ratio
        return VectorSplitting(transform, spacing, weight, ratio * weight, PENALTY_RATIO * voxel * ratio, voxel_weights)


class VectorSplitting:
    """The splittings z ≈ ∇χ - v and of ε(v), with v solved for together with χ.

    Parameters
    ----------
    transform, spacing, voxel_weights
        As for :meth:`Regulariser.on`; the voxel weights act on the first-order term.
    weight
        alpha1, in the unit of χ times that of the spacing.
    second_weight
        alpha0, in the unit of χ times the square of that of the spacing.
    penalty_ratio
        mu0 / mu1, in the square of the unit of the spacing.
    """

    groups: tuple[str, ...] = ("gradient", "symmetric_gradient")

    def __init__(
        self,
        transform: FourierTransform,
        spacing: Spacing,
        weight: float,
        second_weight: float,
        penalty_ratio: float = 2.0,
        voxel_weights: NDArray | None = None,
    ) -> None:
        real = transform.dtype.type
        self._transform = transform
        self.weights: tuple[float, ...] = (weight, second_weight)
        self.coupling = 1.0 / penalty_ratio
        self._ratio = penalty_ratio
        hx, hy, hz = (real(1.0 / h) for h in spacing)
        self._inverse_spacing = (hx, hy, hz)
        volume = (transform.shape[0], *transform.empty_image(1).shape[1:])
        self._first = transform.zeros((3, *volume))
        self._second = transform.zeros((6, *volume))
        self._voxel_weights = VoxelWeights(transform, voxel_weights).buffer
        self.spectra = transform.zeros((4, *transform.empty_spectrum().shape), transform.complex_dtype)
        self.symbols = squared_symbols(transform, spacing)
        x, y, z = (
            transform.array(np.asarray((np.exp(2j * np.pi * np.fft.fftfreq(n)) - 1.0) / h, transform.complex_dtype))
            for n, h in zip(transform.shape, spacing, strict=True)
        )
        self._differences = (x, y, z)
        self._old_penalty: float | None = None
        self._carried: list[NDArray] = []
        self._slabs: Slabs = []
        self._edges: list[tuple[NDArray, NDArray]] = []
        self._beyond: list[NDArray] = []

    def rescale(self, factor: float) -> None:
        """See :class:`GradientSplitting`; the right-hand sides of v hold the penalty too."""
        self.weights = (self.weights[0] * factor, self.weights[1] * factor)
        self._old_penalty = None if self._old_penalty is None else self._old_penalty * factor
        self.spectra[1:] *= self._transform.dtype.type(factor)

    def receive(self, slab: int, first: int, last: int) -> None:
        """Nothing: v is taken out of k-space plane by plane when it is needed, and not kept."""

    def _take_vector(self, first: int, last: int, out: NDArray) -> NDArray:
        """Take v of some planes out of k-space, into (3, planes, ny, stride), or (3, ny, stride) for one; only once."""
        transform = self._transform
        spectra = transform.spectrum_view(self.spectra[1:, first:last])
        transform.blocks().inverse_planes(spectra[:, 0] if out.ndim == 3 else spectra, transform.image_view(out))
        return out

    def _take_edges(self) -> None:
        """Take v of the first and the last plane of every slab: other slabs need them while they are replaced."""
        plane = self._transform.empty_image(1).shape[1:]
        self._edges = []
        for start, stop in self._slabs:
            first = self._take_vector(start, start + 1, self._transform.zeros((3, *plane)))
            one = stop - start == 1
            last = first if one else self._take_vector(stop - 1, stop, self._transform.zeros((3, *plane)))
            self._edges.append((first, last))

    def _vector_beyond(self, slab: int, plane: int) -> NDArray:
        """V of the plane beyond one of a slab, (3, ny, stride)."""
        stop = self._slabs[slab][1]
        if plane + 1 == stop:
            return self._edges[(slab + 1) % len(self._slabs)][0]
        if plane + 2 == stop:
            return self._edges[slab][1]
        return self._take_vector(plane + 1, plane + 2, self._rolling[slab][plane % 2])

    def begin_iteration(self, image: NDArray, slabs: Slabs, penalty: float, relaxation: float) -> None:
        """See :class:`GradientSplitting`."""
        transform = self._transform
        if len(self._carried) != len(slabs):
            plane = transform.empty_image(1).shape[1:]
            several = plane if transform.planes_at_once == 1 else (transform.planes_at_once, *plane)
            buffers = 2 if transform.planes_at_once == 1 else 1
            self._rolling = [transform.zeros((buffers, 3, *several)) for _ in slabs]
            self._carried = [transform.zeros((9, *plane)) for _ in slabs]
            self._signed = [transform.zeros((9, *several)) for _ in slabs]
            self._work = [transform.zeros((4, *several)) for _ in slabs]
        old = self._old_penalty
        self._settings = (
            shrinkage_settings(transform, self.weights[0], old, penalty, relaxation),
            shrinkage_settings(
                transform,
                self.weights[1],
                None if old is None else old * self._ratio,
                penalty * self._ratio,
                relaxation,
            ),
        )
        self._penalties = (transform.dtype.type(penalty), transform.dtype.type(penalty * self._ratio))
        self._old_penalty = penalty
        self._slabs = slabs
        self._take_edges()
        self._beyond = [first for first, _ in self._edges]
        for slab, ((start, _), carried) in enumerate(zip(slabs, self._carried, strict=True)):
            vectors = self._edges[slab - 1][1], self._edges[slab][0]
            self._shrink(image, *vectors, (start - 1) % image.shape[0], carried, np.zeros((2, 5)), update=False)

    def step(self, image: NDArray, slab: int, first: int, last: int) -> tuple[float, ...]:
        """See :class:`GradientSplitting`."""
        transform = self._transform
        blocks, work = transform.blocks(), self._work[slab]
        sums = np.zeros((2, 5))
        for plane in range(first, last, transform.planes_at_once):
            signed, carried = self._signed[slab], self._carried[slab]
            if transform.planes_at_once == 1:
                here, beyond = self._beyond[slab], self._vector_beyond(slab, plane)
                self._beyond[slab] = beyond
            else:
                here = self._take_vector(first, last, self._rolling[slab][0])
                beyond = self._edges[(slab + 1) % len(self._slabs)][0]
            self._shrink(image, here, beyond, plane, signed, sums, update=True)
            adjoint_plane(signed, carried, transform.shape[2], self._inverse_spacing, *self._penalties, work)
            spectra = self.spectra[..., : transform.half]
            if transform.planes_at_once == 1:
                self._signed[slab], self._carried[slab] = carried, signed
                spectra = spectra[:, plane]
            blocks.forward_planes(work[..., : transform.shape[2]], spectra)
        return tuple(sums.ravel().tolist())

    def _shrink(
        self,
        image: NDArray,
        vector: NDArray,
        vector_beyond: NDArray,
        plane: int,
        signed: NDArray,
        sums: NDArray,
        *,
        update: bool,
    ) -> None:
        shrink_plane(
            image,
            vector,
            vector_beyond,
            self._first,
            self._second,
            self._voxel_weights,
            plane,
            self._transform.shape[2],
            self._inverse_spacing,
            *self._settings,
            update,
            signed,
            sums,
        )

    def reduce_rows(self, first: int, last: int, penalty: float) -> None:
        """Fold v into χ."""
        real = self._transform.dtype.type
        half = self._transform.half
        eliminate_vector(
            self.spectra, *self._differences, first, last, half, real(penalty), real(penalty * self._ratio)
        )

    def restore_rows(self, first: int, last: int, penalty: float) -> None:
        """Recover v."""
        transform = self._transform
        real = transform.dtype.type
        recover_vector(
            self.spectra,
            *self._differences,
            first,
            last,
            transform.half,
            real(penalty),
            real(penalty * self._ratio),
            real(1.0 / transform.n_voxels),
        )
