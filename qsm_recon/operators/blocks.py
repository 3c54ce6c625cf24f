"""Averages over blocks of voxels, for what needs no finer grid, and sums over boxes around each voxel."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray


def block_means(image: NDArray, factors: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray[np.floating]:
    """Means over blocks of voxels; the last ones are filled up with zeros."""
    means: NDArray[np.floating] = np.asarray(image)
    for axis, factor in enumerate(factors):  # one after the other: far quicker than to add up whole blocks
        before = (slice(None),) * axis
        total = means[(*before, slice(None, None, factor))].astype(dtype)
        for step in range(1, factor):
            part = means[(*before, slice(step, None, factor))]
            total[(*before, slice(part.shape[axis]))] += part
        means = total
    return means / np.asarray(np.prod(factors), dtype)


def box_sums(image: NDArray[np.integer], reach: int) -> NDArray[np.integer]:
    """Sums of whole numbers over a box around each voxel, with zeros around the image.

    ``scipy.ndimage.uniform_filter`` would do, and take longer to import than this to run.

    Parameters
    ----------
    image
        (nx, ny, nz) whole numbers of a type that holds the sums.
    reach
        Voxels that the box reaches to either side.
    """
    for axis in range(image.ndim):
        before = (slice(None),) * axis
        total = image.copy()
        for step in range(1, min(reach, image.shape[axis] - 1) + 1):
            lower, upper = (*before, slice(None, -step)), (*before, slice(step, None))
            total[lower] += image[upper]
            total[upper] += image[lower]
        image = total
    return image
