"""The air around the head and in its cavities, and the field it makes in the brain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.phantom.anatomy.shapes import (
    FloatArray,
    Points,
    ellipsoid,
    smooth_min,
    smooth_step,
    superellipsoid,
    tube,
)
from qsm_recon.phantom.geometry import CENTRE_MM, FIELD_OF_VIEW_MM, ImageGrid
from qsm_recon.phantom.random_fields import SmoothField
from qsm_recon.phantom.signal import dipole_field

WATER_MINUS_AIR_PPM = -9.4
SPACING_MM = 2.0
MARGIN_MM = 70.0
"""How far the head is modelled beyond the field of view: face, shoulders' end of the neck."""


def head_distance(points: Points) -> FloatArray:
    """Distance to the skin: skull, face, nose and neck."""
    a, y, z = points.a, points.y, points.z
    skull = superellipsoid(a, y, z, (0, -17, 6), (77, 99, 82), 2.2)
    face = superellipsoid(a, y, z, (0, 32, -58), (56, 52, 66), 2.4)
    neck = tube(a, y, z, [(0, -34, -50, 60), (0, -40, -160, 60), (0, -40, -400, 62)])
    nose = ellipsoid(a, y, z, (0, 92, -52), (13, 16, 22))
    return smooth_min(smooth_min(smooth_min(skull, face, 20), neck, 25), nose, 10)


def cavity_distance(points: Points) -> FloatArray:
    """Distance to the nearest air-filled cavity: paranasal sinuses, airway, ear canals and mastoid cells."""
    a, y, z = points.a, points.y, points.z
    cavities = [
        ellipsoid(a, y, z, (9, 79, -8), (12, 5, 11)),  # frontal
        ellipsoid(a, y, z, (8, 52, -37), (5, 20, 8)),  # ethmoid
        ellipsoid(a, y, z, (7, 22, -36), (9, 10, 8)),  # sphenoid
        ellipsoid(a, y, z, (27, 52, -58), (13, 14, 15)),  # maxillary
        tube(a, y, z, [(0, 88, -62, 6), (0, 20, -58, 9), (0, 6, -90, 9), (0, 0, -400, 9)]),
        tube(a, y, z, [(84, -18, -48, 4), (52, -20, -50, 4.5)]),
        ellipsoid(a, y, z, (58, -38, -52), (8, 9, 11)),
    ]
    distance = cavities[0]
    for cavity in cavities[1:]:
        distance = np.minimum(distance, cavity)
    return distance


def background_field(grid: ImageGrid, b0_direction: tuple[float, float, float], brain: NDArray[np.bool_]) -> FloatArray:
    """Field (ppm) of the air on a grid, shimmed.

    Inside the brain the field is harmonic, hence smooth: it is computed on a coarser grid and interpolated.  The
    constant and linear parts over the brain are removed, as a scanner's shim does.

    Parameters
    ----------
    grid
        Where the field is wanted.
    b0_direction
        Field direction in voxel axes.
    brain
        Where to shim; on ``grid``.
    """
    axes = [
        np.arange(c - f / 2 - MARGIN_MM, c + f / 2 + MARGIN_MM, SPACING_MM, dtype=np.float32)
        for c, f in zip(CENTRE_MM, FIELD_OF_VIEW_MM, strict=True)
    ]
    points = Points(*np.meshgrid(*axes, indexing="ij"))
    head = smooth_step(-head_distance(points), -SPACING_MM / 2, SPACING_MM / 2)
    head *= smooth_step(cavity_distance(points), -SPACING_MM / 2, SPACING_MM / 2)
    field = dipole_field(np.float32(WATER_MINUS_AIR_PPM) * head, (SPACING_MM,) * 3, b0_direction)
    origin = (float(axes[0][0]), float(axes[1][0]), float(axes[2][0]))
    total = SmoothField(field, origin, SPACING_MM).on(*grid.axes_mm)
    return shimmed(total, grid, brain)


def shimmed(field_ppm: FloatArray, grid: ImageGrid, brain: NDArray[np.bool_]) -> FloatArray:
    """Subtract the constant and linear parts that fit a field best over the brain."""
    x, y, z = (axis / np.float32(100.0) for axis in np.ix_(*grid.axes_mm))
    basis = [np.broadcast_to(term, field_ppm.shape) for term in (np.ones((1, 1, 1), np.float32), x, y, z)]
    design = np.stack([term[brain] for term in basis], axis=1).astype(np.float64)
    coefficients, *_ = np.linalg.lstsq(design, field_ppm[brain].astype(np.float64), rcond=None)
    for coefficient, term in zip(coefficients, basis, strict=True):
        field_ppm = field_ppm - np.float32(coefficient) * term
    return field_ppm
