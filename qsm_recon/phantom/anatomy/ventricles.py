"""The ventricles: lateral with their horns, third, aqueduct and fourth."""

from __future__ import annotations

import numpy as np

from qsm_recon.phantom.anatomy.shapes import FloatArray, Points, ellipsoid, smooth_max, smooth_min, tube

# (|x|, y, z, radius): along the C around caudate nucleus and thalamus.
FRONTAL_TO_ATRIUM = [
    (13, 31, 1, 1.6),
    (11, 25, 5, 3.2),
    (9, 16, 10, 4.2),
    (8, 3, 15, 3.8),
    (8.5, -12, 18, 3.6),
    (13, -27, 18, 4.2),
    (21, -38, 12, 6.0),
    (25, -44, 5, 6.4),
]
TEMPORAL_HORN = [(25, -44, 5, 5.0), (31, -38, -5, 2.6), (34, -26, -12, 1.7), (33, -12, -17, 1.6), (29, -5, -18, 1.8)]
OCCIPITAL_HORN = [(25, -44, 5, 5.5), (26, -56, 6, 3.6), (24, -68, 6, 2.2), (21, -78, 5, 1.0)]


def lateral_ventricles(points: Points) -> FloatArray:
    """Distance to the lateral ventricles of both sides, divided by the septum."""
    a, y, z = points.a, points.y, points.z
    body = tube(a, y, z, FRONTAL_TO_ATRIUM, 3)
    # A roof that widens under the corpus callosum: triangular rather than round in coronal cuts.
    roof = tube(a, y, z, [(12, 20, 12, 1.8), (12, 4, 18.5, 2.0), (13, -12, 21, 2.0), (16, -26, 21, 2.2)], 3)
    inner = tube(a, y, z, [(3.4, 18, 9, 2.0), (3.0, 2, 14, 2.0), (3.2, -14, 17, 1.8)], 3)
    shape = smooth_min(smooth_min(body, roof, 4), inner, 4)
    horns = smooth_min(tube(a, y, z, TEMPORAL_HORN, 2), tube(a, y, z, OCCIPITAL_HORN, 2), 2)
    shape = smooth_min(shape, horns, 3)
    return smooth_max(shape, np.float32(0.9) - a, 1.0)


def midline_ventricles(points: Points) -> FloatArray:
    """Distance to third ventricle, aqueduct and fourth ventricle."""
    a, y, z = points.a, points.y, points.z
    third = ellipsoid(a, y, z, (0, -13, 1), (2.4, 13.5, 11))
    third = smooth_max(third, -ellipsoid(a, y, z, (0, -13, 4), (6, 3.2, 2.6)), 1.5)  # interthalamic adhesion
    aqueduct = tube(a, y, z, [(0, -27, -3, 1.1), (0, -33, -12, 1.0), (0, -38, -22, 1.3)])
    fourth = smooth_min(
        ellipsoid(a, y + 0.10 * z, z, (0, -46, -34), (5.5, 4.2, 12)),
        ellipsoid(a, y, z, (0, -43, -34), (11, 2.6, 3.2)),
        3,
    )
    return smooth_min(smooth_min(third, aqueduct, 2), fourth, 2)
