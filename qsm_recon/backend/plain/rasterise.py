"""Plain numpy for :mod:`qsm_recon.backend.rasterise`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def draw_tubes(
    first_plane: int,
    last_plane: int,
    cover: NDArray[np.float32],
    segments: NDArray[np.float64],
    origin_mm: NDArray[np.float64],
    spacing_mm: NDArray[np.float64],
) -> None:
    """See the kernel."""
    blur = float(np.prod(spacing_mm)) ** (1.0 / 3.0)
    for segment in segments:
        start, end, radii = segment[:3], segment[4:7], segment[[3, 7]]
        reach = radii.max() + blur
        low = np.floor((np.minimum(start, end) - reach - origin_mm) / spacing_mm).astype(int)
        high = np.ceil((np.maximum(start, end) + reach - origin_mm) / spacing_mm).astype(int) + 1
        low, high = np.maximum(low, 0), np.minimum(high, cover.shape)
        low[0], high[0] = max(low[0], first_plane), min(high[0], last_plane)
        if np.any(low >= high):
            continue
        along = end - start
        offset = np.ix_(*(origin_mm[k] + np.arange(low[k], high[k]) * spacing_mm[k] - start[k] for k in range(3)))
        projection = sum(offset[k] * along[k] for k in range(3)) / max(float(along @ along), 1e-12)
        t = np.minimum(np.maximum(projection, 0.0), 1.0)
        distance = np.sqrt(sum((offset[k] - t * along[k]) ** 2 for k in range(3)))
        radius = radii[0] + t * (radii[1] - radii[0])
        # See the kernel: a vessel thinner than the voxel fills at most its cross-section.
        fill = np.minimum(np.maximum(0.5 + (radius - distance) / blur, 0.0), 1.0)
        fill = fill * np.minimum(1.0, math.pi * radius * radius / (blur * blur))
        box = cover[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        np.maximum(box, fill.astype(np.float32), out=box)
