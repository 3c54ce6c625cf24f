"""Whether a mask is thick enough for its field to tell the susceptibility in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import DataError
from qsm_recon.summary import sizes

FEWEST_SLICES, THIN_SLAB = 4, 8
"""Spheres 8 and 12 voxels wide in slabs cut out of a volume: with 3 slices at -0.1 and 0.8 of their susceptibility,
with 4 at 0.4 and 0.9, with 6 at 0.7 and 0.9, with 8 as in the whole volume."""

SLAB_WIDTH = 2
"""How many times as wide as thick a slab is; what is not is a small object."""


def check_thickness(
    mask: NDArray[np.bool_], what: str = "the mask", *, origin: str = "", advice: str = "give a volume"
) -> str | None:
    """Refuse a few slices, and describe a thin slab or a small object: part of their field is unknown.

    Parameters
    ----------
    mask
        (nx, ny, nz) bool, where the field is known to whoever inverts it.
    what
        What to call the mask.
    origin
        File or method that it comes from, for the error.
    advice
        What to do about a few slices.

    Returns
    -------
    str or None
        What the user should not overlook; None where there is nothing.

    Raises
    ------
    DataError
        If it has fewer than four slices along an axis.
    """
    extents = []
    for axis in range(3):
        layers = int(np.count_nonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))))
        if 0 < layers < FEWEST_SLICES:
            raise DataError(
                f"{origin}{': ' if origin else ''}{what} has {layers} slice(s) along axis {axis + 1} of {mask.shape}; "
                f"so few do not determine susceptibility, as most of their field comes from above and below; {advice}"
            )
        extents.append(layers)
    thinnest, others = min(extents), sorted(extents)[1:]
    if not 0 < thinnest < THIN_SLAB:
        return None
    if others[0] >= SLAB_WIDTH * thinnest:
        return (
            f"{what} is a slab of {thinnest} slices; much of its field comes from beyond it, and the susceptibility of "
            "sources as wide as the slab is thick comes out too low"
        )
    return (
        f"{what} is only {sizes(tuple(extents))} voxels wide; much of the field of what is in it lies outside, and the "
        "susceptibility of sources as wide as that comes out too low"
    )
