"""Sources outside the mask: what of a field they explain, and whether a field holds any background."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

from qsm_recon.engines.gauss_newton import GaussNewton, GaussNewtonSettings
from qsm_recon.operators.dipole import DipoleOperator, KernelKind
from qsm_recon.operators.grid import Grid
from qsm_recon.terms.field_model import WeightedField
from qsm_recon.terms.morphology import EdgeWeightedVariation
from qsm_recon.terms.preconditioner import padded_mask

PROJECTION_ITERATIONS = 30
COARSE_MM = 2.0
"""Voxel size that is fine enough to tell whether there is background, whose field is smooth."""


def project_onto_outside(
    operator: DipoleOperator,
    field: NDArray,
    weight: NDArray,
    mask: NDArray[np.bool_],
    iterations: int = PROJECTION_ITERATIONS,
    tolerance: float = 1e-2,
) -> tuple[NDArray, NDArray]:
    """Explain a field by sources outside the mask alone.

    Parameters
    ----------
    operator
        Dipole operator.
    field
        (nx, ny, nz) field, ppm.
    weight
        (nx, ny, nz) data weight W, zero outside the mask.
    mask
        (nx, ny, nz) where there are no such sources.
    iterations, tolerance
        Conjugate gradient iterations at most, and the relative residual to stop at.

    Returns
    -------
    sources
        Susceptibility on the padded grid, ppm; zero inside the mask.
    left
        (nx, ny, nz) what of the field they do not explain, ppm; zero outside the mask.

    References
    ----------
    Liu et al., NMR Biomed 24:1129-1136 (2011), doi 10.1002/nbm.1670.
    """
    model = WeightedField(operator.transform, field, weight)
    # The regularisation is only there to make the system definite.
    nothing = EdgeWeightedVariation(operator.transform, operator.grid.voxel_size_mm, 1e-12, 1.0)
    engine = GaussNewton(
        operator, model, nothing, GaussNewtonSettings(1, 0.0, tolerance, iterations),
        scaling=np.where(padded_mask(operator, mask), np.float32(0), np.float32(1)),
    )  # fmt: skip
    sources = engine.run().image[..., : operator.padded_grid.shape[2]].copy()
    return sources, np.where(mask, field - operator.crop(engine.predicted), 0)


def share_left_by_projection(
    grid: Grid, kernel: KernelKind, field: NDArray, weight: NDArray, mask: NDArray[np.bool_], padding_mm: float = 16.0
) -> float:
    """Share of the weighted field's energy that sources outside the mask do not explain, found on coarse voxels.

    Parameters
    ----------
    grid
        Geometry.
    kernel
        Dipole kernel.
    field, weight, mask
        (nx, ny, nz) field (ppm), data weight, and region of interest.
    padding_mm
        How far beyond the image sources are allowed.
    """
    factors = tuple(max(1, round(COARSE_MM / size)) for size in grid.voxel_size_mm)
    trusted = np.where(mask, np.square(weight, dtype=np.float32), 0)
    squared, product, energy = (block_means(trusted * part, factors) for part in (np.float32(1), field, field * field))
    inside = block_means(mask.astype(np.float32), factors) > 0.5
    if not inside.any():
        return 1.0
    coarse = np.divide(product, squared, out=np.zeros_like(product), where=inside & (squared > 0))
    trust = np.where(inside, np.sqrt(squared), 0)
    sizes = tuple(size * factor for size, factor in zip(grid.voxel_size_mm, factors, strict=True))
    coarse_grid = Grid(coarse.shape, sizes, grid.b0_direction)  # type: ignore[arg-type]
    operator = DipoleOperator(
        coarse_grid,
        kernel,
        np.float32,
        tuple(int(np.ceil(padding_mm / size)) for size in sizes),  # type: ignore[arg-type]
    )
    _sources, left = project_onto_outside(operator, coarse, trust, inside)
    explained = np.square(trust, dtype=np.float64) * (np.square(coarse, dtype=np.float64) - np.square(left))
    # What averaging took away is too fine to come from outside.
    total = float(energy[inside].sum(dtype=np.float64))
    return 1.0 - float(explained.sum()) / total if total > 0 else 1.0


def block_means(image: NDArray, factors: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray[np.floating]:
    """Means over blocks of voxels; the last ones are filled up with zeros."""
    filled = np.pad(image, [(0, -n % factor) for n, factor in zip(image.shape, factors, strict=True)])
    split = [part for n, factor in zip(filled.shape, factors, strict=True) for part in (n // factor, factor)]
    return filled.reshape(split).mean(axis=(1, 3, 5), dtype=dtype)
