"""Forward differences on a periodic grid, their adjoint, and what they are in k-space."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.operators.grid import Grid

Spacing = tuple[float, float, float]
GradientConvention = Literal["physical", "unit-voxel"]


def gradient_spacing(grid: Grid, convention: str = "physical") -> Spacing:
    """Distance that a forward difference is divided by.

    Parameters
    ----------
    grid
        The geometry.
    convention
        ``"physical"`` divides by the voxel size in mm; ``"unit-voxel"`` does not divide, as the FANSI toolbox
        does whatever the voxel size.

    Returns
    -------
    tuple of float
        Spacing along the three axes, in mm (or 1).

    Raises
    ------
    ParameterError
        If the convention is unknown.
    """
    if convention not in get_args(GradientConvention):
        known = get_args(GradientConvention)
        raise ParameterError(f"gradient: '{convention}' is unknown{did_you_mean(convention, known)}")
    return grid.voxel_size_mm if convention == "physical" else (1.0, 1.0, 1.0)


def forward_difference(image: NDArray, spacing: Spacing = (1.0, 1.0, 1.0)) -> NDArray:
    """Periodic forward differences.

    Parameters
    ----------
    image
        (nx, ny, nz) array.
    spacing
        Distance between voxels along the axes.

    Returns
    -------
    ndarray
        (3, nx, ny, nz) differences (next - this) / spacing.
    """
    return np.stack([(np.roll(image, -1, axis) - image) / h for axis, h in enumerate(spacing)])


def forward_difference_adjoint(vector: NDArray, spacing: Spacing = (1.0, 1.0, 1.0)) -> NDArray:
    """Adjoint of :func:`forward_difference` (minus the divergence); (3, nx, ny, nz) to (nx, ny, nz)."""
    return sum((np.roll(vector[axis], 1, axis) - vector[axis]) / h for axis, h in enumerate(spacing))


def squared_difference_symbol(n: int, spacing: float = 1.0) -> NDArray:
    """|E|² of a periodic forward difference along an axis of ``n`` voxels, in FFT order; (n,) float64."""
    return (2.0 - 2.0 * np.cos(2.0 * np.pi * np.fft.fftfreq(n))) / spacing**2
