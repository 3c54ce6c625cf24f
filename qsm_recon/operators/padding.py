"""Sizes of the grids that transforms run on."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import ParameterError
from qsm_recon.values import real_numbers

BEYOND_A_CUT = 1.25
"""Reach where the mask touches the image's border, over that elsewhere: best on the whole on slabs cut out of
heads and phantoms."""


REACH = 0.05
"""How far around a mask sources and periodic copies count, over the longest edge of the box around it."""
FEWEST_VOXELS = 6
"""That reach at least, in voxels."""
ROUNDING_VOXELS = 1e-3
"""A length that is longer than some voxels by this much counts as those: sizes in headers are of single precision."""


def reach_of(mask: NDArray[np.bool_], voxel_size_mm: tuple[float, float, float]) -> float:
    """Distance around a mask, in mm, within which sources and periodic copies count: 8 mm for a head.

    A twentieth of the longest edge of the box around the mask, or six voxels if that is more: a length that follows
    the picture, as the dipole problem has none of its own.

    Parameters
    ----------
    mask
        (nx, ny, nz) boolean, not empty.
    voxel_size_mm
        Voxel size in mm.
    """
    return max(REACH * extent_of(mask, voxel_size_mm), FEWEST_VOXELS * float(np.prod(voxel_size_mm)) ** (1 / 3))


def extent_of(mask: NDArray[np.bool_], voxel_size_mm: tuple[float, float, float]) -> float:
    """Longest edge in mm of the box around a mask (nx, ny, nz) that is not empty."""
    edges = []
    for axis, size in enumerate(voxel_size_mm):
        inside = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        edges.append((int(inside[-1]) + 1 - int(inside[0])) * size)
    return float(max(edges))


def voxels_in(length_mm: float, size_mm: float) -> int:
    """Number of voxels that cover a length; what headers round off sizes does not add one.

    Parameters
    ----------
    length_mm
        The length.
    size_mm
        Edge of a voxel.
    """
    return max(0, math.ceil(length_mm / size_mm - ROUNDING_VOXELS))


def padded_shape(shape: tuple[int, int, int], padding: int | tuple[int, int, int] = 0) -> tuple[int, int, int]:
    """Grid size with at least ``padding`` more voxels along each axis whose prime factors are 2, 3 and 5 only.

    Raises
    ------
    ParameterError
        If a padding is negative or no whole number, or there are neither one nor three.
    """
    from qsm_recon.backend.fft import fast_length

    given = real_numbers(padding)
    if given.shape not in ((), (3,)) or not ((given >= 0) & (given % 1 == 0)).all():
        raise ParameterError(f"padding: expected non-negative numbers of voxels, one or three, found {padding!r}")
    margins = np.broadcast_to(given, 3)
    nx, ny, nz = (fast_length(n + int(margin)) for n, margin in zip(shape, margins, strict=True))
    return (nx, ny, nz)


def padding_around(
    mask: NDArray[np.bool_], voxel_size_mm: tuple[float, float, float], reach_mm: float
) -> tuple[int, int, int]:
    """Voxels to add along each axis so that a mask is felt by its periodic copies no more.

    On either side of the mask the reach must be empty, and a quarter more where the mask touches the border: there
    the object goes on, and sources just outside act on the field inside.  What the image has of that is not added:
    nothing, where the mask lies well inside.

    Parameters
    ----------
    mask
        (nx, ny, nz) boolean, not empty.
    voxel_size_mm
        Voxel size in mm.
    reach_mm
        How far the field of what is in the mask counts.
    """
    lacking = []
    for axis, (n, size) in enumerate(zip(mask.shape, voxel_size_mm, strict=True)):
        inside = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        sides = (int(inside[0]), n - 1 - int(inside[-1]))
        wanted = sum(voxels_in((BEYOND_A_CUT if side == 0 else 1.0) * reach_mm, size) for side in sides)
        lacking.append(max(0, wanted - sum(sides)))
    x, y, z = lacking
    return (x, y, z)
