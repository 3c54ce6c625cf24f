"""What the network was trained on, and how a problem differs from all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.learned.heads import TILT_DEG
from qsm_recon.problem import Problem

VOXEL_MM = (0.75, 1.35)
"""Edges that voxels may have: training had 1 mm, and the dipole's field has no length of its own."""
ANISOTROPY = 1.15
"""Longest over shortest edge of a voxel; training had cubes."""
TILT_MARGIN_DEG = 5.0
SPREAD_MARGIN = 1.5
"""The spread of a field may be that much outside what training had."""


def spread_and_peak(field_ppm: NDArray[np.floating], mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Half of the range of the middle 68 % of a field in a mask, and its largest deviation from the median, in ppm.

    Parameters
    ----------
    field_ppm, mask
        (nx, ny, nz) field and where it counts.
    """
    values = field_ppm[mask]
    low, middle, high = (float(part) for part in np.percentile(values, (16, 50, 84)))
    return (high - low) / 2, max(float(values.max()) - middle, middle - float(values.min()))


def outside_domain(problem: Problem, facts: Mapping[str, Any]) -> list[str]:
    """Say in which respects a problem is unlike everything that the network was trained on.

    Parameters
    ----------
    problem
        The measurement.
    facts
        What is known of the weights, see :func:`qsm_recon.learned.weights.load_weights`.

    Returns
    -------
    list of str
        Sentences; none where nothing is.
    """
    found = []
    size = problem.grid.voxel_size_mm
    edges = " × ".join(f"{edge:.3g}" for edge in size)
    if max(size) / min(size) > ANISOTROPY or min(size) < VOXEL_MM[0] or max(size) > VOXEL_MM[1]:
        found.append(f"voxels of {edges} mm, where training had cubes of 1 mm")
    angle, largest = problem.grid.b0_angle_deg, TILT_DEG + TILT_MARGIN_DEG
    if angle > largest:
        found.append(f"a main field {angle:.0f}° from the nearest axis, where training had up to {TILT_DEG:.0f}°")
    spread, peak = spread_and_peak(problem.field_ppm, problem.mask)
    low, high = facts.get("field_spread_ppm", (0.0, np.inf))
    if spread > 0 and not low / SPREAD_MARGIN <= spread <= high * SPREAD_MARGIN:
        found.append(f"a field with a spread of {spread:.2g} ppm, where training had {low:.2g} to {high:.2g} ppm")
    if peak > SPREAD_MARGIN * facts.get("field_peak_ppm", np.inf):
        found.append(f"a field of up to {peak:.2g} ppm, where training had {facts['field_peak_ppm']:.2g} ppm at most")
    return [f"outside of what the network was trained on: {one}; its map may be wrong there" for one in found]
