"""The outline of the cerebrum, its fissures, and the folds of the cortex."""

from __future__ import annotations

import numpy as np

from qsm_recon.datasets.phantom.anatomy.shapes import (
    FloatArray,
    Points,
    ellipsoid,
    sheet,
    smooth_max,
    smooth_min,
    smooth_step,
    superellipsoid,
    tube,
)
from qsm_recon.datasets.phantom.random_fields import SmoothField, random_field

HALF_GAP_MM = 0.9
"""Half the width of the interhemispheric fissure."""
LATTICE_MM = 1.5
"""Spacing of the lattice on which the folding pattern is computed."""
TEMPORAL_LOBE = [(44, 16, -23, 11), (48, 0, -24, 16), (50, -22, -19, 17.5), (49, -45, -10, 18), (42, -66, -2, 18)]
PARAHIPPOCAMPAL = [(25, 2, -22, 8), (24, -14, -20, 9), (23, -34, -12, 9), (24, -52, -8, 10)]


def outline(points: Points) -> FloatArray:
    """Distance to the smooth envelope of the cerebrum, without its fissures."""
    x, y, z = points.x, points.y, points.z
    a = np.abs(x)
    # An egg from above: narrower in front, widest over the parietal lobes.
    widening = 1 + 0.0020 * np.maximum(y + 20, 0) + 0.000012 * np.maximum(y, 0) ** 2
    upper = superellipsoid(a * widening, y, z, (0, -17, 8), (67, 86, 66), 2.25)
    # Underneath: orbital surface in front, tentorium behind, both gently vaulted.
    floor = -19 + 7 * smooth_step(-y, 20, 60) - 0.0035 * (a - 20) ** 2 * smooth_step(-y, 10, 40)
    floor = floor - 2.5 * np.exp(-(((a - 10) / 12) ** 2)) * smooth_step(y, 10, 40)
    shape = smooth_max(upper, floor - z, 14)
    shape = smooth_min(shape, tube(a, y, z, TEMPORAL_LOBE, 6), 9)
    return smooth_min(shape, tube(a, y, z, PARAHIPPOCAMPAL, 4), 7)


def callosal_profile(points: Points) -> FloatArray:
    """Distance in the mid-sagittal plane to the region enclosed by the outer border of the corpus callosum."""
    y, z = points.y, points.z
    arch = ellipsoid(np.zeros_like(y), y + 0.12 * z, z, (0, -5, -2), (10, 38, 28.5))
    stem = ellipsoid(np.zeros_like(y), y + 0.25 * z, z, (0, -20, -14), (10, 17, 22))
    return smooth_min(arch, stem, 6)


def midline_distance(points: Points) -> FloatArray:
    """Distance to the interhemispheric fissure, which ends on the corpus callosum."""
    # Grey matter does not continue over the corpus callosum, so distance grows fast past its border.
    return sheet(points.a - np.float32(HALF_GAP_MM), -2.2 * callosal_profile(points)) * np.where(
        points.a > HALF_GAP_MM, 1, -1
    ).astype(np.float32)


def lateral_fissure_distance(points: Points) -> FloatArray:
    """Distance to the lateral (Sylvian) fissure with the insula at its bottom."""
    a, y, z = points.a, points.y, points.z
    height = -9 + 0.30 * (12 - y) + 0.0022 * (y + 8) ** 2 * smooth_step(-y, 10, 40)
    slope = np.float32(1 / np.hypot(1, 0.3))
    over = z - height - 0.12 * (a - 46) - 1.8 * np.sin((a - 38) / 7)
    insula_a = 39.5 - 0.016 * (z - height - 1) ** 2 - 0.005 * (y + 5) ** 2
    cleft = sheet(over * slope, insula_a - a, -48 - y, 0.7 * (y - 25))
    insula = sheet(0.85 * (a - insula_a), np.abs(z - height - 1.5) - 11, np.abs(y + 4) - 24)
    return np.minimum(cleft - 0.5 - 0.05 * np.maximum(a - 42, 0), insula - 0.6)


def central_core(points: Points) -> FloatArray:
    """Distance to the deep region that no sulcus reaches: basal ganglia, thalamus and ventricles."""
    shape = ellipsoid(points.a, points.y, points.z, (12, -8, 4), (26, 40, 23))
    return smooth_min(shape, ellipsoid(points.a, points.y, points.z, (26, -42, 6), (13, 30, 13)), 8)


def fold_field(seed: int, name: str, wavelength_mm: float, radius_mm: float = 40.0) -> SmoothField:
    """Signed distance (mm) to a family of random sheets that meet the brain's surface at right angles.

    Zero sets of band-limited noise fold like sulci.  The noise is looked up at positions drawn in towards a shell about
    the axis of the hemisphere, which makes its sheets radial, and bent by a second, slower noise.
    """
    axes = [np.arange(-h, h + LATTICE_MM, LATTICE_MM, dtype=np.float32) for h in (84.0, 106.0, 106.0)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    bend = [random_field(seed, f"{name} bend {i}", 40.0).on(*axes) * np.float32(4.5) for i in range(3)]
    # The axis of a hemisphere runs from frontal to occipital lobe; that of the temporal lobe lies below it.
    axis_a, axis_z = 24.0, 6.0
    centre_y = np.clip(y, -62, 34)
    sign = np.where(x >= 0, 1, -1)
    dx, dy, dz = x - sign * axis_a, y - centre_y, z - axis_z
    distance = np.sqrt(dx**2 + dy**2 + dz**2) + 1e-3
    pull = (np.float32(radius_mm) / np.maximum(distance, 12)) ** 0.8
    position = [
        sign * axis_a * 1.6 + dx * pull + bend[0],
        centre_y + dy * pull + bend[1],
        axis_z + dz * pull + bend[2],
    ]
    noise = random_field(seed, name, wavelength_mm, 0.22).at(position)
    slope = np.sqrt(sum(g**2 for g in np.gradient(noise, LATTICE_MM)))
    # Near saddles, where the slope vanishes, the distance stays large: sulci break off there as real ones do.
    signed = noise / (slope + 0.25 / wavelength_mm)
    origin = tuple(float(axis[0]) for axis in axes)
    return SmoothField(np.clip(signed, -25, 25).astype(np.float32), (origin[0], origin[1], origin[2]), LATTICE_MM)


def sulcus_distance(
    primary: FloatArray, secondary: FloatArray, depth: FloatArray, reach: FloatArray, core: FloatArray
) -> FloatArray:
    """Distance (mm) to the walls of the sulci.

    Parameters
    ----------
    primary, secondary
        Signed distances to the sheets of the deep and of the shallow sulci.
    depth
        Depth below the smooth envelope.
    reach
        Local modulation of sulcal depth, mean 0 and unit variance.
    core
        Distance to the deep region that sulci keep clear of.
    """
    keep_clear = 2.0 * np.maximum(5 - core, 0)
    # Wider where they open at the surface, a closed line at the bottom.
    half_width = 0.35 + 0.75 * smooth_step(-depth, -9, 1) + 0.12 * reach
    deep = sheet(primary, depth - (15 + 4.5 * reach), keep_clear) - np.maximum(half_width, 0.2)
    shallow_reach = 7.5 - 2.5 * reach
    shallow = sheet(secondary, depth - shallow_reach, keep_clear) - np.maximum(half_width - 0.15, 0.15)
    return smooth_min(deep, shallow, 1.5)
