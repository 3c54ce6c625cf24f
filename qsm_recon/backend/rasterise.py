"""Kernel that draws tapered tubes into a volume."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import kernel


@kernel
def draw_tubes(
    first_plane: int,
    last_plane: int,
    cover: NDArray[np.float32],
    segments: NDArray[np.float64],
    origin_mm: NDArray[np.float64],
    spacing_mm: NDArray[np.float64],
) -> None:
    """Raise ``cover`` to the fraction of each voxel that tapered segments fill.

    Parameters
    ----------
    first_plane, last_plane
        Planes of the first axis to draw.
    cover
        (nx, ny, nz), updated in place.
    segments
        (n, 8): start x, y, z, radius and end x, y, z, radius, mm.
    origin_mm, spacing_mm
        (3,) centre of the first voxel and voxel size.
    """
    blur = (spacing_mm[0] * spacing_mm[1] * spacing_mm[2]) ** (1.0 / 3.0)
    low = np.empty(3, np.int64)
    high = np.empty(3, np.int64)
    for s in range(segments.shape[0]):
        thick = max(segments[s, 3], segments[s, 7])
        reach = thick + blur
        for k in range(3):
            low[k] = math.floor((min(segments[s, k], segments[s, 4 + k]) - reach - origin_mm[k]) / spacing_mm[k])
            high[k] = math.ceil((max(segments[s, k], segments[s, 4 + k]) + reach - origin_mm[k]) / spacing_mm[k]) + 1
            low[k] = max(low[k], 0)
            high[k] = min(high[k], cover.shape[k])
        ax = segments[s, 4] - segments[s, 0]
        ay = segments[s, 5] - segments[s, 1]
        az = segments[s, 6] - segments[s, 2]
        length2 = max(ax * ax + ay * ay + az * az, 1e-12)
        for i in range(max(low[0], first_plane), min(high[0], last_plane)):
            dx = origin_mm[0] + i * spacing_mm[0] - segments[s, 0]
            for j in range(low[1], high[1]):
                dy = origin_mm[1] + j * spacing_mm[1] - segments[s, 1]
                for k in range(low[2], high[2]):
                    dz = origin_mm[2] + k * spacing_mm[2] - segments[s, 2]
                    t = min(max((dx * ax + dy * ay + dz * az) / length2, 0.0), 1.0)
                    distance = math.sqrt((dx - t * ax) ** 2 + (dy - t * ay) ** 2 + (dz - t * az) ** 2)
                    radius = segments[s, 3] + t * (segments[s, 7] - segments[s, 3])
                    # Linear edge one voxel wide; a vessel thinner than the voxel fills at most its cross-section.
                    fill = min(max(0.5 + (radius - distance) / blur, 0.0), 1.0)
                    fill *= min(1.0, math.pi * radius * radius / (blur * blur))
                    cover[i, j, k] = max(cover[i, j, k], np.float32(fill))
