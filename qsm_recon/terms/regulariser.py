"""Regularisers for the ADMM engine.

A regulariser owns the splitting of the gradient: its state, the shrinkage with dual update on a block of planes, and
its right-hand sides in k-space.  The first of its spectra is that of χ itself.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.fft import FourierTransform
from qsm_recon.operators.gradient import Spacing, squared_difference_symbol

Slabs = list[tuple[int, int]]


class Regulariser(Protocol):
    """What the ADMM engine asks of a regulariser."""

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


class TotalVariation:
    """alpha ‖w ∇χ‖₁, componentwise (anisotropic), on a periodic grid.

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
    """

    groups: tuple[str, ...] = ("gradient",)
    coupling = 0.0

    def __init__(
        self, transform: FourierTransform, spacing: Spacing, weight: float, voxel_weights: NDArray | None = None
    ) -> None:
        real = transform.dtype.type
        self._transform = transform
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
        """See :class:`Regulariser`; the scaled dual s is that of a penalty which grows along."""
        self.weights = (self.weights[0] * factor,)
        self._old_penalty = None if self._old_penalty is None else self._old_penalty * factor

    def receive(self, slab: int, first: int, last: int) -> None:
        """Nothing: χ is all there is."""

    def begin_iteration(self, image: NDArray, slabs: Slabs, penalty: float, relaxation: float) -> None:
        """See :class:`Regulariser`."""
        from qsm_recon.backend.gradient_kernels import incoming_differences

        transform = self._transform
        if len(self._carried) != len(slabs):
            self._carried = [transform.empty_image(1)[0] for _ in slabs]
            self._work = [transform.empty_block() for _ in slabs]
        self._settings = shrinkage_settings(transform, self.weights[0], self._old_penalty, penalty, relaxation)
        self._old_penalty = penalty
        valid = transform.image_view(image)
        for (start, _), plane in zip(slabs, self._carried, strict=True):
            incoming_differences(
                valid, self._state, self._voxel_weights, start, self._inverse_spacing[0], *self._settings, plane
            )

    def step(self, image: NDArray, slab: int, first: int, last: int) -> tuple[float, ...]:
        """See :class:`Regulariser`."""
        from qsm_recon.backend.gradient_kernels import shrink_gradient

        transform = self._transform
        work = self._work[slab][: last - first]
        sums: tuple[float, ...] = shrink_gradient(
            image,
            self._state,
            self._voxel_weights,
            first,
            last,
            transform.shape[2],
            self._inverse_spacing,
            *self._settings,
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


class TotalGeneralisedVariation:
    """alpha1 ‖w (∇χ - v)‖₁ + alpha0 ‖ε(v)‖₁, minimised over v as well, on a periodic grid.

    Off-diagonal components of the symmetrised gradient ε count twice.

    Parameters
    ----------
    transform, spacing, voxel_weights
        As for :class:`TotalVariation`; the voxel weights act on the first-order term.
    weight
        alpha1, in the unit of χ times that of the spacing.
    second_weight
        alpha0, in the unit of χ times the square of that of the spacing.
    penalty_ratio
        mu0 / mu1, in the square of the unit of the spacing.

    References
    ----------
    Bredies, Kunisch, Pock, SIAM J Imaging Sci 3:492-526 (2010), doi 10.1137/090769521; in FANSI: Milovic et al., Magn
    Reson Med 80:814-821 (2018), doi 10.1002/mrm.27073.
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
        self.vector = transform.zeros((3, *volume))
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

    def rescale(self, factor: float) -> None:
        """See :class:`Regulariser`; the right-hand sides of v hold the penalty too."""
        self.weights = (self.weights[0] * factor, self.weights[1] * factor)
        self._old_penalty = None if self._old_penalty is None else self._old_penalty * factor
        self.spectra[1:] *= self._transform.dtype.type(factor)

    def receive(self, slab: int, first: int, last: int) -> None:
        """Take v out of k-space."""
        transform = self._transform
        for component in range(3):
            spectrum = transform.spectrum_view(self.spectra[1 + component])[first:last]
            target = transform.image_view(self.vector[component])[first:last]
            transform.blocks().inverse_planes(spectrum, target)

    def begin_iteration(self, image: NDArray, slabs: Slabs, penalty: float, relaxation: float) -> None:
        """See :class:`Regulariser`."""
        transform = self._transform
        if len(self._carried) != len(slabs):
            plane = transform.empty_image(1).shape[1:]
            several = plane if transform.planes_at_once == 1 else (transform.planes_at_once, *plane)
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
        for (start, _), carried in zip(slabs, self._carried, strict=True):
            self._shrink(image, (start - 1) % image.shape[0], carried, np.zeros((2, 5)), update=False)

    def step(self, image: NDArray, slab: int, first: int, last: int) -> tuple[float, ...]:
        """See :class:`Regulariser`."""
        from qsm_recon.backend.generalised_kernels import adjoint_plane

        transform = self._transform
        blocks, work = transform.blocks(), self._work[slab]
        sums = np.zeros((2, 5))
        for plane in range(first, last, transform.planes_at_once):
            signed, carried = self._signed[slab], self._carried[slab]
            self._shrink(image, plane, signed, sums, update=True)
            adjoint_plane(signed, carried, transform.shape[2], self._inverse_spacing, *self._penalties, work)
            spectra = self.spectra[..., : transform.half]
            if transform.planes_at_once == 1:
                self._signed[slab], self._carried[slab] = carried, signed
                spectra = spectra[:, plane]
            blocks.forward_planes(work[..., : transform.shape[2]], spectra)
        return tuple(sums.ravel().tolist())

    def _shrink(self, image: NDArray, plane: int, signed: NDArray, sums: NDArray, *, update: bool) -> None:
        from qsm_recon.backend.generalised_kernels import shrink_plane

        shrink_plane(
            image,
            self.vector,
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
        from qsm_recon.backend.generalised_kernels import eliminate_vector

        real = self._transform.dtype.type
        half = self._transform.half
        eliminate_vector(
            self.spectra, *self._differences, first, last, half, real(penalty), real(penalty * self._ratio)
        )

    def restore_rows(self, first: int, last: int, penalty: float) -> None:
        """Recover v."""
        from qsm_recon.backend.generalised_kernels import recover_vector

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
