"""The deep grey nuclei, each on both sides, and the hippocampus."""

from __future__ import annotations

import numpy as np

from qsm_recon.phantom.anatomy.shapes import (
    FloatArray,
    Points,
    ellipsoid,
    rotated,
    sheet,
    smooth_max,
    smooth_min,
    tube,
)

CAUDATE_BODY = [
    (12.5, 17, 3, 4.6),
    (13, 12, 9, 5.0),
    (14, 2, 15, 3.6),
    (16, -10, 18.5, 2.6),
    (20, -22, 18, 2.0),
    (26, -32, 13, 1.6),
    (31, -37, 4, 1.3),
    (33, -32, -4, 1.1),
]


def caudate(points: Points) -> FloatArray:
    """Head, body and tail along an arc over the thalamus."""
    a, y, z = points.a, points.y, points.z
    p, q = rotated(a, y, (12.5, 13.5), -14)
    head = ellipsoid(p, q, z - 0.25 * q, (0, 0, 6), (4.8, 10.0, 9.0))
    body = tube(a, y, z, CAUDATE_BODY, 3)
    return smooth_min(head, body, 3)


def putamen(points: Points) -> FloatArray:
    """A shell lateral to the globus pallidus, splayed outward to the back."""
    a, y, z = points.a, points.y, points.z
    p, q = rotated(a, y, (25.5, 2), 14)
    p = p + 0.006 * q**2 + 0.012 * (z - 2) ** 2
    return ellipsoid(p, q, z - 0.05 * q, (0.8, 0, 2), (5.2, 17.5, 11.0))


def globus_pallidus(points: Points) -> FloatArray:
    """A wedge medial to the putamen, with the thin lamina that divides it."""
    a, y, z = points.a, points.y, points.z
    p, q = rotated(a, y, (19.6, -3.5), 20)
    shape = ellipsoid(p + 0.18 * (z - 1) + 0.010 * q**2, q, z - 0.06 * q, (0.3, 0, 0.5), (5.6, 11.5, 7.6))
    # Keep the lateral medullary lamina free.
    return smooth_max(shape, 0.9 - putamen(points), 1.5)


def medullary_lamina(points: Points) -> FloatArray:
    """The sheet between the outer and inner segment of the globus pallidus."""
    p, q = rotated(points.a, points.y, (19.6, -3.5), 20)
    return sheet(p + 0.18 * (points.z - 1) + 0.012 * q**2 + 0.2) - 0.05


def thalamus(points: Points) -> FloatArray:
    """An egg beside the third ventricle with the pulvinar behind."""
    a, y, z = points.a, points.y, points.z
    p, q = rotated(a, y, (10.0, -16), 24)
    egg = ellipsoid(p, q, z, (0.2, 0, 7.5), (7.6, 15.0, 9.0))
    pulvinar = ellipsoid(a, y, z, (15, -27.5, 6.5), (8.0, 6.8, 7.2))
    return smooth_max(smooth_min(egg, pulvinar, 5), 1.9 - a, 1.5)


def red_nucleus(points: Points) -> FloatArray:
    """A nearly round nucleus in the midbrain."""
    return ellipsoid(points.a, points.y, points.z, (4.9, -20.5, -9), (3.4, 3.5, 4.6))


def substantia_nigra(points: Points) -> FloatArray:
    """A slanted plate in front of the red nucleus, with the subthalamic nucleus above its outer end."""
    a, y, z = points.a, points.y, points.z
    p, q = rotated(a, y, (9.0, -16.5), -38)
    plate = ellipsoid(p, q + 0.045 * p**2, z + 0.25 * p, (0, 0, -12), (6.4, 2.1, 5.2))
    p, q = rotated(a, z, (11.0, -5.5), -32)
    subthalamic = ellipsoid(p, y, q, (0, -13, 0), (5.0, 3.2, 2.0))
    return smooth_min(plate, subthalamic, 1.5)


def dentate(points: Points, crumple: FloatArray) -> FloatArray:
    """A crumpled shell in the white matter of the cerebellum, open to the midline and the front."""
    a, y, z = points.a, points.y, points.z
    p, q = rotated(a, y, (15.5, -54.5), 34)
    envelope = ellipsoid(p, q, z, (0, 0, -34), (5.4, 9.0, 6.2)) + 1.1 * crumple
    shell = np.abs(envelope + 1.1) - 1.45
    hilum = ellipsoid(p, q, z, (-4.5, 3.0, -33.5), (4.8, 8.5, 4.0))
    return smooth_max(shell, -hilum, 1.5)


def claustrum(points: Points) -> FloatArray:
    """A thin sheet of grey matter between putamen and insula."""
    return sheet(putamen(points) - 2.6, 24 - points.a + 0.5 * np.abs(points.y), np.abs(points.z - 2) - 9) - 0.45


def hippocampus(points: Points) -> FloatArray:
    """Amygdala and hippocampus below and inside the temporal horn."""
    a, y, z = points.a, points.y, points.z
    hippocampus_body = tube(
        a, y, z, [(27, -12, -19, 4.2), (30, -22, -15, 3.4), (29, -32, -8, 3.0), (24, -38, 0, 2.2)], 3
    )
    return smooth_min(hippocampus_body, ellipsoid(a, y, z, (23, -3, -18), (6.5, 7, 6.5)), 2)
