"""Cerebellum and brain stem."""

from __future__ import annotations

import numpy as np

from qsm_recon.phantom.anatomy.shapes import (
    FloatArray,
    Points,
    ellipsoid,
    sheet,
    smooth_max,
    smooth_min,
    smooth_step,
    tube,
)

STEM = [
    (0, -19, 0, 9),
    (0, -24, -10, 11.5),
    (0, -30, -26, 13.5),
    (0, -35, -40, 11),
    (0, -41, -56, 7.5),
    (0, -48, -84, 6.2),
]


def brain_stem(points: Points) -> FloatArray:
    """Distance to midbrain, pons and medulla; the pons bulges to the front."""
    x, y, z = points.x, points.y, points.z
    shape = tube(x, y, z, STEM, 8)
    pons = ellipsoid(x, y, z, (0, -25, -28), (16.5, 11.5, 12.5))
    peduncles = tube(points.a, y, z, [(7, -16, -4, 6), (6, -19, -14, 6)])
    return smooth_min(smooth_min(shape, pons, 6), peduncles, 5)


def cerebellum_outline(points: Points) -> FloatArray:
    """Distance to the envelope of the cerebellum with its posterior notch."""
    a, y, z = points.a, points.y, points.z
    hemisphere = ellipsoid(a, y - 0.10 * a, z + 0.14 * a, (22, -66, -33), (31, 27, 22))
    vermis = ellipsoid(a, y, z, (0, -62, -28), (16, 24, 21))
    notch = ellipsoid(a, y, z, (0, -96, -40), (4.5, 13, 22))
    return smooth_max(smooth_min(hemisphere, vermis, 9), -notch, 6)


def cerebellar_white_matter(points: Points, wobble: FloatArray) -> FloatArray:
    """Distance to the white core of the cerebellum, joined to the pons by the middle peduncles."""
    a, y, z = points.a, points.y, points.z
    core = ellipsoid(a, y - 0.10 * a, z + 0.14 * a, (18, -58, -32), (22, 14.5, 8.5))
    peduncle = tube(a, y, z, [(13, -33, -29, 7), (19, -46, -32, 7)])
    return smooth_min(core, peduncle, 6) - wobble


def folia(points: Points, bend: FloatArray, depth: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fissures of the cerebellum, and the white-matter leaves between them.

    Both fan out around the roof of the fourth ventricle, so that they run across from side to side.

    Parameters
    ----------
    points
        Coordinates.
    bend
        Random displacement of the fan, mean 0 and unit variance.
    depth
        Depth below the envelope, mm.

    Returns
    -------
    tuple of ndarray
        Distances (mm) to the fissures and to the leaves.
    """
    a, y, z = points.a, points.y, points.z
    py, pz = y + 46 - 0.10 * a, z + 33 + 0.14 * a
    angle = np.arctan2(pz, -py)
    radius = np.sqrt(py**2 + pz**2 + 0.25 * a**2) + 1
    lobules = 15.0
    # A slight spiral, or level cuts would run along a single fissure.
    phase = angle * lobules + 0.75 * radius + 1.1 * bend
    leaf_phase = phase - np.pi / 2
    per_radian = radius / lobules
    major = sheet(np.abs(np.sin(phase / 2)) * 2 * per_radian, depth - 13) - 0.45
    minor = sheet(np.abs(np.sin(1.5 * phase + 0.6)) / 1.5 * per_radian, depth - 4.5) - 0.35
    leaves = sheet(np.abs(np.cos(leaf_phase / 2 + np.pi / 4)) * 2 * per_radian, 3.2 - depth)
    leaves = leaves - 0.8 - 1.0 * smooth_step(depth, 6, 16)
    return np.minimum(major, minor), leaves
