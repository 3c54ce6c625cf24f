"""White-matter tracts that are more myelinated than their surroundings."""

from __future__ import annotations

import numpy as np

from qsm_recon.phantom.anatomy.cerebrum import callosal_profile
from qsm_recon.phantom.anatomy.shapes import FloatArray, Points, tube

OPTIC_RADIATION: list[tuple[float, float, float, float]] = [
    (22, -24, 2, 2),
    (33, -30, 2, 2.5),
    (35, -45, 5, 3),
    (28, -62, 6, 3),
    (16, -78, 6, 2),
]
INTERNAL_CAPSULE = [
    (13, 14, 4, 2),
    (17, 3, 5, 2),
    (17, -6, 4, 2),
    (22, -16, 6, 2.5),
    (25, -22, 14, 2),
    (26, -24, 26, 2),
]


def tract_myelin(points: Points) -> FloatArray:
    """Extra myelin along the large tracts, in units of the standard deviation of white matter's texture."""
    a, y, z = points.a, points.y, points.z
    total = np.zeros_like(a)
    for nodes, strength in ((OPTIC_RADIATION, 1.3), (INTERNAL_CAPSULE, 0.9)):
        outside = np.maximum(tube(a, y, z, nodes), 0)
        total += np.float32(strength) * np.exp(-((outside / 2.5) ** 2))
    callosum = np.maximum(np.abs(callosal_profile(points) + 3.5) - 2, 0) ** 2 + np.maximum(a - 12, 0) ** 2
    return total + np.float32(1.0) * np.exp(-callosum / 6)
