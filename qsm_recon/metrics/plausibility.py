"""Does a map look like tissue?  What its values and the magnitude say of its sign."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SKEW = 0.1
"""Lopsidedness of the extreme values; from +0.2 to +0.7 in the brains at hand, as veins and iron are paramagnetic."""
BRIGHTER = 1.08
"""Median magnitude of the most over that of the least susceptible voxels; from 0.75 to 0.87 in the brains at hand."""

IMPLAUSIBLE_RATIO = 30.0
"""A map whose spread differs by more than this from the truth's is in another unit, or the truth is."""


def other_unit(
    susceptibility: NDArray[np.floating], truth: NDArray[np.floating], mask: NDArray[np.bool_]
) -> str | None:
    """Describe a map and a truth that cannot be in one unit.

    Parameters
    ----------
    susceptibility, truth
        (nx, ny, nz) the two; what is not finite does not count.
    mask
        (nx, ny, nz) where to look.
    """
    spreads = []
    for image in (susceptibility, truth):
        inside = image[mask]
        inside = inside[np.isfinite(inside)]
        spreads.append(float(inside.std(dtype=np.float64)) if inside.size else 0.0)
    spread, expected = spreads
    if spread <= 0 or expected <= 0 or 1 / IMPLAUSIBLE_RATIO < spread / expected < IMPLAUSIBLE_RATIO:
        return None
    return f"varies {spread / expected:.3g} times as much as the truth; are both in ppm?"


def inverted(
    susceptibility_ppm: NDArray[np.floating], mask: NDArray[np.bool_], magnitude: NDArray[np.floating] | None
) -> str | None:
    """Describe a map that looks as if it had the wrong sign.

    Veins and iron are paramagnetic, few and dark.  Where the extreme values lean to the negative side, and the most
    negative voxels are the darker ones as well, the sign of the phase is probably the other one.

    Parameters
    ----------
    susceptibility_ppm
        (nx, ny, nz) map in ppm.
    mask
        (nx, ny, nz) where to look.
    magnitude
        (nx, ny, nz) magnitude; without it nothing is said.
    """
    if magnitude is None:
        return None
    values, bright = susceptibility_ppm[mask], magnitude[mask]
    lowest, low, middle, high, highest = (float(p) for p in np.percentile(values, (0.1, 1, 50, 99, 99.9)))
    dark = float(np.median(bright[values <= low]))
    if highest <= lowest or dark <= 0:
        return None
    skew = (highest + lowest - 2 * middle) / (highest - lowest)
    ratio = float(np.median(bright[values >= high])) / dark
    if skew > -SKEW or ratio < BRIGHTER:
        return None
    return (
        f"the map looks inverted: its extreme values lean to the negative side (skew {skew:.2f}) and the most negative "
        f"voxels are darker than the most positive ones (by {ratio:.2f}), the reverse of veins and iron; check the "
        "sign of the phase (--phase-sign negative) or of the field"
    )
