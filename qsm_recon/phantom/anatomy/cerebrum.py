"""The outline of the cerebrum, its fissures, and the folds of the cortex."""

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
    superellipsoid,
    tube,
)
from qsm_recon.phantom.random_fields import SmoothField, random_field

# Where white matter always connects through, however the cortex folds.
FRONTO_OCCIPITAL_STEM = [
    (19, 47, 6, 4),
    (22, 28, 12, 7),
    (25, 0, 22, 7),
    (26, -40, 18, 9),
    (21, -72, 8, 4),
    (15, -84, 6, 2),
]
TEMPORAL_STEM = [(42, 10, -24, 1.5), (44, -16, -19, 3.5), (42, -44, -8, 4)]
HALF_GAP_MM = 0.9
"""Half the width of the interhemispheric fissure."""
LATTICE_MM = 1.5
FOLD_HALF_BOX_MM = 106.5
"""Spacing of the lattice on which the folding pattern is computed."""
TEMPORAL_LOBE = [(44, 16, -23, 11), (48, 0, -24, 16), (50, -22, -19, 17.5), (47, -45, -10, 17.5), (38, -62, -1, 16)]
PARAHIPPOCAMPAL = [(25, 3, -20, 9), (24, -12, -20, 11), (22, -32, -12, 11), (22, -52, -6, 11)]


def outline(points: Points) -> FloatArray:
    """Distance to the smooth envelope of the cerebrum, without its fissures."""
    x, y, z = points.x, points.y, points.z
    a = np.abs(x)
    # An egg from above: narrower in front, widest over the parietal lobes.
    widening = 1 + 0.0018 * np.maximum(y + 20, 0) + 0.000012 * np.maximum(y, 0) ** 2
    widening = widening + 0.00006 * np.maximum(-y - 50, 0) ** 2
    upper = superellipsoid(a * widening, y, z, (0, -17, 9), (63.5, 81, 60.5), 2.15)
    # Underneath: orbital surface in front, tentorium behind, both gently vaulted.
    floor = -14.5 + 5 * smooth_step(-y, 30, 60) - 0.0045 * np.minimum(a, 40) ** 2 - 6 * smooth_step(y, 0, 30)
    floor = floor + 7 * smooth_step(a, 20, 45) * smooth_step(y, 20, 45)
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
    across = points.a - np.float32(HALF_GAP_MM)
    # Grey matter does not continue over the corpus callosum, so distance grows fast past its border.
    beyond = -2.2 * callosal_profile(points)
    return sheet(np.maximum(across, 0), beyond) + np.minimum(np.maximum(across, beyond), 0)


def lateral_fissure_distance(points: Points) -> FloatArray:
    """Distance to the lateral (Sylvian) fissure with the insula at its bottom."""
    a, y, z = points.a, points.y, points.z
    height = -9 + 0.30 * (12 - y) + 0.0022 * (y + 8) ** 2 * smooth_step(-y, 10, 40)
    slope = np.float32(1 / np.hypot(1, 0.3))
    over = z - height - 0.12 * (a - 46) - 1.8 * np.sin((a - 38) / 7)
    insula_a = 38.5 - 0.016 * (z - height - 1) ** 2 - 0.009 * (y + 2) ** 2
    cleft = sheet(over * slope, insula_a - a, -48 - y, 0.7 * (y - 25))
    insula = sheet(0.85 * (a - insula_a), np.abs(z - height - 1.5) - 11, np.abs(y + 4) - 24)
    return np.minimum(cleft - 0.5 - 0.05 * np.maximum(a - 42, 0), insula - 0.6)


def central_core(points: Points) -> FloatArray:
    """Distance to the deep region that no sulcus reaches: basal ganglia, ventricles and the stems of the lobes."""
    a, y, z = points.a, points.y, points.z
    shape = smooth_min(ellipsoid(a, y, z, (12, -8, 4), (26, 40, 23)), ellipsoid(a, y, z, (24, -42, 6), (13, 30, 13)), 8)
    stems = np.minimum(tube(a, y, z, FRONTO_OCCIPITAL_STEM), tube(a, y, z, TEMPORAL_STEM))
    return smooth_min(shape, stems, 8)


def fold_field(seed: int, name: str, wavelength_mm: float, radius_mm: float = 40.0) -> SmoothField:
    """Signed distance (mm) to a family of random sheets that meet the brain's surface at right angles.

    Zero sets of band-limited noise fold like sulci.  The noise is looked up at positions drawn in towards a shell about
    the axis of the hemisphere, which makes its sheets radial, and bent by a second, slower noise.
    """
    noise_field = random_field(seed, name, wavelength_mm, 0.22)
    bend = [random_field(seed, f"{name} bend {i}", 40.0) for i in range(3)]
    halves = []
    for side in (-1.0, 1.0):
        # Each hemisphere continues past the midline, so that slopes at the midline are its own.
        x_axis = np.arange(-6, 84 + LATTICE_MM, LATTICE_MM, dtype=np.float32) * np.float32(side)
        noise = _radial_noise(noise_field, bend, x_axis if side > 0 else x_axis[::-1], side, radius_mm)
        slope = np.sqrt(sum(g**2 for g in np.gradient(noise, LATTICE_MM)))
        # Near saddles, where the slope vanishes, the distance stays large: sulci break off there as real ones do.
        signed = np.clip(noise / (slope + 0.25 / wavelength_mm), -25, 25)
        halves.append(signed[:-4] if side < 0 else signed[5:])
    values = np.concatenate(halves).astype(np.float32)
    origin = -LATTICE_MM * (len(halves[0]) - 1)
    return SmoothField(values, (origin, -FOLD_HALF_BOX_MM, -FOLD_HALF_BOX_MM), LATTICE_MM)


def _radial_noise(
    noise: SmoothField, bend: list[SmoothField], x_axis: FloatArray, side: float, radius_mm: float
) -> FloatArray:
    """Look noise up at positions drawn towards a shell about the axis of one hemisphere, and bent."""
    half = FOLD_HALF_BOX_MM
    axes = [x_axis, *(np.arange(-half, half + LATTICE_MM, LATTICE_MM, dtype=np.float32) for _ in range(2))]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    axis_a, axis_z = 24.0, 4.0
    centre_y = np.clip(y, -62, 30)
    dx, dy, dz = x - np.float32(side * axis_a), y - centre_y, z - np.float32(axis_z)
    distance = np.sqrt(dx**2 + dy**2 + dz**2)
    pull = (np.float32(radius_mm) / np.maximum(distance, 27)) ** np.float32(0.9)
    shift = [np.float32(4.0) * b.on(*axes) for b in bend]
    return noise.at([side * 40 + dx * pull + shift[0], centre_y + dy * pull + shift[1], dz * pull + shift[2]])


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
    deep = sheet(primary, depth - (18 + 5 * reach), keep_clear) - np.maximum(half_width, 0.2)
    shallow_reach = 6.5 - 2.0 * reach
    shallow = sheet(secondary, depth - shallow_reach, keep_clear) - np.maximum(half_width - 0.15, 0.15)
    return smooth_min(deep, shallow, 1.5)
