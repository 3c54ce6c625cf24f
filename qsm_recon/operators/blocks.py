"""Averages over blocks of voxels, for what needs no finer grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray


def block_means(image: NDArray, factors: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray[np.floating]:
    """Means over blocks of voxels; the last ones are filled up with zeros."""
    filled = np.pad(image, [(0, -n % factor) for n, factor in zip(image.shape, factors, strict=True)])
    split = [part for n, factor in zip(filled.shape, factors, strict=True) for part in (n // factor, factor)]
    return filled.reshape(split).mean(axis=(1, 3, 5), dtype=dtype)
