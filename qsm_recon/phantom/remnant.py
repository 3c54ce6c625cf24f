"""What the removal of a background field leaves behind: weak, smooth, and harmonic inside the brain.

Sources outside the brain that a removal got wrong are drawn at random in a shell around it, stronger in the cavities
below the frontal and temporal lobes; the field is theirs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.phantom.anatomy.shapes import FloatArray, Points, smooth_step
from qsm_recon.phantom.background import SPACING_MM, cavity_distance, shimmed
from qsm_recon.phantom.geometry import ImageGrid
from qsm_recon.phantom.random_fields import SmoothField
from qsm_recon.phantom.resampling import average_voxels
from qsm_recon.phantom.signal import dipole_field
from qsm_recon.phantom.texture import power_law_texture

SHELL_MM = (4.0, 34.0)
"""Nearest and farthest sources, from the brain."""
SOURCE_SLOPE = 3.5
"""Of the sources' power spectrum: most are a few centimetres wide."""
CAVITY_FACTOR = 3.0
REACH_MM = 20.0


def remnant_field(
    grid: ImageGrid,
    b0_direction: tuple[float, float, float],
    brain: NDArray[np.bool_],
    image_mask: NDArray[np.bool_],
    root_mean_square_ppm: float,
    stream: tuple[int, str],
) -> FloatArray:
    """Field (ppm) of the sources that a background removal missed.

    It has no constant and no linear part over the brain, and is as large as asked for.

    Parameters
    ----------
    grid
        Where the field is wanted.
    b0_direction
        Field direction in voxel axes.
    brain
        The brain on ``grid``.
    image_mask
        The brain on the image grid.
    root_mean_square_ppm
        Size in ``image_mask``, of voxel averages.
    stream
        Seed and name of the random stream that the sources are drawn from.

    Returns
    -------
    ndarray
        Field on ``grid``, ppm.
    """
    axes = [
        np.arange(axis[0] - SHELL_MM[1] - REACH_MM, axis[-1] + SHELL_MM[1] + REACH_MM, SPACING_MM, dtype=np.float32)
        for axis in grid.axes_mm
    ]
    sources = _sources(axes, grid, brain, stream)
    field = dipole_field(sources, (SPACING_MM,) * 3, b0_direction)
    origin = (float(axes[0][0]), float(axes[1][0]), float(axes[2][0]))
    wanted = shimmed(SmoothField(field, origin, SPACING_MM).on(*grid.axes_mm), grid, brain)
    averaged = average_voxels(np.ascontiguousarray(wanted, np.float32), image_mask.shape)[image_mask]
    scale = root_mean_square_ppm / np.sqrt(np.mean(averaged.astype(np.float64) ** 2))
    return np.ascontiguousarray(wanted * np.float32(scale), np.float32)


def _sources(axes: list[FloatArray], grid: ImageGrid, brain: NDArray[np.bool_], stream: tuple[int, str]) -> FloatArray:
    """Random sources in the shell around the brain, on a coarse grid that reaches beyond the image."""
    from scipy.ndimage import distance_transform_edt

    nearest = [
        np.clip(np.rint((axis - own[0]) / step).astype(np.intp), -1, len(own))
        for axis, own, step in zip(axes, grid.axes_mm, grid.voxel_size_mm, strict=True)
    ]
    padded = np.pad(brain, 1)  # index -1 and one past the end are outside the brain
    coarse = padded[np.ix_(*(index + 1 for index in nearest))]
    distance = distance_transform_edt(~coarse, sampling=SPACING_MM).astype(np.float32)
    inside = smooth_step(distance, SHELL_MM[0], SHELL_MM[0] + 2 * SPACING_MM)
    shell = inside * smooth_step(-distance, -SHELL_MM[1], -SHELL_MM[1] / 2)
    points = Points(*np.meshgrid(*axes, indexing="ij"))
    cavities = smooth_step(-cavity_distance(points), -SPACING_MM, SPACING_MM)
    strength = power_law_texture(*stream, 1.0, SOURCE_SLOPE, axes, SPACING_MM)
    return np.ascontiguousarray(shell * strength * (1 + (CAVITY_FACTOR - 1) * cavities), np.float32)
