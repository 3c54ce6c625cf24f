"""Noise of a field map, from the map itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.problem import Problem

MAD_TO_DEVIATION = 1.4826  # of a normal distribution


def estimated_field_noise(problem: Problem) -> NDArray[np.float32]:
    """Standard deviation of the field (ppm) where none was measured, from its finest diagonal detail.

    The sum of the eight voxels of a 2×2×2 block with alternating signs, over √8, has the deviation of the noise, while
    hardly any of a dipole field gets into it: the field of structures is smooth outside them, and inside changes
    along with few of the three axes.  Its median absolute value resists the rest.  Where there is a magnitude image,
    noise is taken as inversely proportional to it; else as the same everywhere.

    Parameters
    ----------
    problem
        The measurement.

    Returns
    -------
    ndarray
        (nx, ny, nz), zero outside the mask.
    """
    mask, field = problem.mask, problem.field_ppm
    scale = np.zeros(mask.shape, np.float32)
    if problem.magnitude is None:
        scale[mask] = 1
    else:
        # A voxel without signal would have any noise; it counts as one with a fiftieth of the typical signal.
        floor = 0.02 * float(np.median(problem.magnitude[mask]))
        scale[mask] = 1 / np.maximum(problem.magnitude[mask], floor)
    detail = np.zeros(tuple(n - 1 for n in mask.shape))
    variance = np.zeros_like(detail)
    inside = np.ones(detail.shape, dtype=bool)
    for corner in np.ndindex(2, 2, 2):
        block = tuple(slice(c, n - 1 + c) for c, n in zip(corner, mask.shape, strict=True))
        detail += (-1) ** sum(corner) * field[block]
        variance += np.square(scale[block], dtype=np.float64)
        inside &= mask[block]
    if not inside.any():
        return scale
    level = MAD_TO_DEVIATION * float(np.median(np.abs(detail[inside]) / np.sqrt(variance[inside])))
    return scale * np.float32(level)
