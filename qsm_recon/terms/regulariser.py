"""Regularisers for the ADMM engine.

A regulariser owns the splitting of the gradient: its state, and the shrinkage with dual update on a block of planes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.fft import FourierTransform, aligned_zeros
from qsm_recon.operators.gradient import Spacing, squared_difference_symbol

Sums = tuple[float, float, float, float, float]


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

    def __init__(
        self, transform: FourierTransform, spacing: Spacing, weight: float, voxel_weights: NDArray | None = None
    ) -> None:
        real = transform.dtype.type
        self._transform = transform
        self.weight = weight
        self._inverse_spacing = tuple(real(1.0 / h) for h in spacing)
        buffer_shape = transform.empty_image(1).shape[1:]
        self._state = aligned_zeros((3, transform.shape[0], *buffer_shape), transform.dtype)
        components = 0 if voxel_weights is None else 1 if voxel_weights.ndim == 3 else 3
        self._voxel_weights = aligned_zeros((components, transform.shape[0], *buffer_shape), transform.dtype)
        if voxel_weights is not None:
            stacked = voxel_weights[None] if voxel_weights.ndim == 3 else voxel_weights
            self._voxel_weights[...] = 1
            nx, ny, nz = stacked.shape[1:]
            self._voxel_weights[:, :nx, :ny, :nz] = stacked
        self.symbols = tuple(
            np.asarray(squared_difference_symbol(n, h), dtype=transform.dtype)
            for n, h in zip(transform.shape, spacing, strict=True)
        )
        self._old_penalty: float | None = None

    def begin_iteration(self, image: NDArray, slabs: list[tuple[int, int]], penalty: float, relaxation: float) -> None:
        """Fix this iteration's penalty, and compute what each slab takes over from the slab before it."""
        from qsm_recon.backend.gradient_kernels import incoming_differences

        real = self._transform.dtype.type
        old = penalty if self._old_penalty is None else self._old_penalty
        self._settings = (
            real(self.weight / old),
            real(self.weight / penalty),
            real(old / penalty),
            real(relaxation),
        )
        self._carried = []
        valid = self._transform.image_view(image)
        for start, _ in slabs:
            plane = self._transform.empty_image(1)[0]
            incoming_differences(
                valid, self._state, self._voxel_weights, start, self._inverse_spacing[0], *self._settings, plane
            )
            self._carried.append(plane)
        self._old_penalty = penalty

    def step(self, image: NDArray, slab: int, first: int, last: int, out: NDArray) -> Sums:
        """Shrinkage and dual update on planes ``first`` to ``last`` (exclusive) of a slab; fills ∇ᵀ(z - s).

        Returns sums of w|∇χ|, |∇χ - z|², |z - z_old|², |z|² and |s|².
        """
        from qsm_recon.backend.gradient_kernels import shrink_gradient

        return shrink_gradient(
            image,
            self._state,
            self._voxel_weights,
            first,
            last,
            self._transform.shape[2],
            self._inverse_spacing,
            *self._settings,
            self._carried[slab],
            image[last % image.shape[0]],
            out,
        )
