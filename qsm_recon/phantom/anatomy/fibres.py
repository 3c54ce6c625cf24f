"""Directions of the fibres in white matter: the large tracts, and short fibres towards the surface between them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from qsm_recon.phantom.anatomy import cerebrum
from qsm_recon.phantom.anatomy.shapes import FloatArray, Points
from qsm_recon.phantom.anatomy.tracts import OPTIC_RADIATION

# (|x|, y, z, radius) along each tract, mm; drawn on the right and mirrored.
TRACTS: list[list[tuple[float, float, float, float]]] = [
    # corpus callosum, from the genu to the splenium: across the midline, then up or forward or back
    [(0, 28, 6, 3), (9, 34, 8, 4), (17, 46, 10, 4), (18, 58, 10, 3)],
    [(0, 18, 16, 3), (11, 19, 20, 4), (20, 22, 30, 5), (22, 24, 44, 4)],
    [(0, 4, 22, 3), (12, 4, 25, 4), (22, 4, 36, 5), (24, 4, 52, 4)],
    [(0, -10, 22.5, 3), (12, -11, 26, 4), (22, -13, 37, 5), (25, -15, 54, 4)],
    [(0, -24, 19, 3), (12, -27, 23, 4), (22, -33, 34, 5), (26, -38, 50, 4)],
    [(0, -38, 9, 4), (12, -48, 11, 4), (20, -62, 8, 4), (17, -80, 6, 3)],
    # from the spinal cord through the peduncle and the internal capsule up to the cortex
    [(3, -46, -76, 3), (4, -36, -44, 4), (6, -24, -26, 4), (10, -17, -10, 4), (18, -14, 3, 3), (24, -17, 18, 4),
     (25, -20, 34, 5), (24, -22, 54, 5)],
    [(17, -4, 2, 2), (21, 2, 16, 4), (24, 8, 34, 5), (25, 10, 50, 4)],
    [(22, -22, 4, 2), (27, -33, 18, 4), (27, -43, 34, 5), (25, -48, 48, 4)],
    # thalamus to the frontal lobe through the anterior limb
    [(11, -8, 7, 3), (15, 8, 5, 3), (18, 26, 6, 4), (21, 46, 6, 4)],
    OPTIC_RADIATION,
    # superior longitudinal, inferior fronto-occipital and inferior longitudinal fascicles, cingulum
    [(35, 26, 18, 4), (37, 0, 24, 5), (38, -28, 24, 5), (41, -44, 10, 4), (44, -30, -8, 3)],
    [(28, 42, -3, 4), (33, 12, -11, 3), (38, -20, -8, 3), (35, -50, -4, 4), (25, -78, 0, 4)],
    [(43, 8, -25, 4), (44, -20, -19, 4), (42, -46, -8, 4), (29, -72, 0, 4)],
    [(7, 32, 12, 2), (8, 19, 26, 2), (8, -4, 32, 2), (8, -26, 28, 2), (10, -42, 14, 2), (17, -40, 0, 2)],
    # transverse fibres of the pons and the middle cerebellar peduncle
    [(0, -19, -28, 4), (9, -22, -29, 4), (16, -34, -30, 5), (21, -48, -33, 6), (22, -66, -34, 5)],
]  # fmt: skip
FRINGE_MM = 2.5
"""How far around a tract fibres still follow it."""
SHORT_FIBRES = 0.08
"""Weight of the fibres towards the surface beside a tract's 1."""
STEP_MM = 0.5
PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""Components of an orientation tensor, in the order they are stored."""


def orientation_tensor(points: Points) -> FloatArray:
    """Mean of n nᵀ over the directions n of the fibres that cross at each point.

    Every stretch of a tract counts by how near it is; where none is, fibres run at right angles to the surface.

    Parameters
    ----------
    points
        Where.

    Returns
    -------
    ndarray
        (6, ...) xx, yy, zz, xy, xz and yz, with a trace of 1.
    """
    side = np.where(points.x < 0, np.float32(-1), np.float32(1))
    direction = surface_direction(points)
    tensor = np.stack([np.float32(SHORT_FIBRES) * direction[i] * direction[j] for i, j in PAIRS])
    total = np.full(points.x.shape, SHORT_FIBRES, np.float32)
    for nodes in TRACTS:
        for start, end in pairwise(np.asarray(nodes, np.float32)):
            along = end[:3] - start[:3]
            length = np.float32(np.linalg.norm(along))
            offsets = points.a - start[0], points.y - start[1], points.z - start[2]
            t = np.clip(sum(o * c for o, c in zip(offsets, along, strict=True)) / length**2, 0, 1)
            distance = np.sqrt(sum((o - t * c) ** 2 for o, c in zip(offsets, along, strict=True)))
            outside = np.maximum(distance - (start[3] + t * (end[3] - start[3])), 0)
            weight = np.exp(-((outside / np.float32(FRINGE_MM)) ** 2))
            total += weight
            n = along / length
            for index, (i, j) in enumerate(PAIRS):
                part = weight * (n[i] * n[j])
                tensor[index] += part * side if i == 0 and j > 0 else part
    return tensor / total


def surface_direction(points: Points) -> FloatArray:
    """(3, ...) unit vectors at right angles to the envelope of the cerebrum."""
    gradient = np.empty((3, *points.x.shape), np.float32)
    for axis, (dx, dy, dz) in enumerate(STEP_MM * np.eye(3, dtype=np.float32)):
        ahead = cerebrum.outline(Points(points.x + dx, points.y + dy, points.z + dz))
        gradient[axis] = ahead - cerebrum.outline(Points(points.x - dx, points.y - dy, points.z - dz))
    return gradient / np.maximum(np.sqrt((gradient**2).sum(axis=0)), np.float32(1e-6))
