"""Averages over blocks of voxels, for what needs no finer grid."""

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
