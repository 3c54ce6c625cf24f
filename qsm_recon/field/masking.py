"""A mask for any object from magnitude and phase: where the phase runs smoothly and the signal is above the noise.

It is not a brain extraction: skull and scalp have signal too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import DataError
from qsm_recon.field.echoes import EchoSeries

logger = logging.getLogger(__name__)

SMOOTH = 0.4
"""Phase quality above which a voxel has signal: that of an SNR of about 1.8."""
AIR = 0.25
"""Phase quality below which a voxel is taken for air."""
ABOVE_AIR = 3.0
"""How far the magnitude must be above the median in air, in standard deviations there."""
ABOVE_BRIGHT = 0.04
"""Smallest magnitude, as a fraction of the 98th percentile of the image."""
SMALLEST_PART = 0.05
"""Connected parts smaller than this fraction of the largest one are left out; two legs are two parts."""
LARGEST_HOLE_MM3 = 2000.0
"""Enclosed holes up to this size are filled: bleedings, calcifications, veins; not sinuses or bowel gas."""
LEAST_WEIGHT = 0.05
"""Weight of a second difference, as a fraction of the voxel's own power, below which a neighbour has no signal."""
LEAST_ZEROS = 0.02
"""Share of exact zeros from which an image counts as masked already."""


def signal_mask(
    echoes: EchoSeries, voxel_size_mm: tuple[float, float, float]
) -> tuple[NDArray[np.bool_], dict[str, Any]]:
    """Find the voxels whose phase and magnitude show an object.

    A voxel belongs to it where its phase quality (:func:`phase_quality`) exceeds 0.4 and its magnitude (root of the sum
    of squares) both the median in air by three standard deviations and 4 % of the bright voxels.  The result is opened
    by one voxel; parts of at least 5 % of the largest remain, with the bright voxels next to them, where the quality of
    both sides is mixed; enclosed holes up to 2 ml are filled.

    Parameters
    ----------
    echoes
        The series.
    voxel_size_mm
        Voxel size in mm.

    Returns
    -------
    mask
        (nx, ny, nz) bool.
    facts
        The thresholds used, ready for JSON.

    Raises
    ------
    DataError
        If nothing is found.
    """
    from scipy import ndimage

    magnitude = np.sqrt(np.sum(np.square(echoes.magnitude, dtype=np.float32), axis=3))
    quality = phase_quality(echoes)
    air = (quality < AIR) & (magnitude > 0)
    bright = float(np.percentile(magnitude[magnitude > 0], 98))
    darkest = ABOVE_BRIGHT * bright
    if np.count_nonzero(air) > 0.01 * air.size:
        middle = float(np.median(magnitude[air]))
        spread = 1.4826 * float(np.median(np.abs(magnitude[air] - middle)))
        darkest = max(darkest, middle + ABOVE_AIR * spread)
    mask = tidy((quality > SMOOTH) & (magnitude > darkest), voxel_size_mm)
    mask |= ndimage.binary_dilation(mask) & (magnitude > darkest)
    if not mask.any():
        raise DataError("mask: no object was found in magnitude and phase; give one (--mask)")
    facts = {
        "phase_quality_above": SMOOTH,
        "magnitude_above": darkest,
        "magnitude_above_share_of_bright": darkest / bright,
        "voxels": int(mask.sum()),
        "share_of_image": float(mask.mean()),
    }
    logger.debug("mask from magnitude and phase: %s", facts)
    return mask, facts


def field_mask(
    field: NDArray[np.floating], magnitude: NDArray[np.floating] | None, voxel_size_mm: tuple[float, float, float]
) -> tuple[NDArray[np.bool_], str]:
    """Find where a field map is known: where it is not exactly zero, or else where the magnitude shows an object.

    Parameters
    ----------
    field
        (nx, ny, nz) field map of any unit; values that are not finite count as unknown.
    magnitude
        (nx, ny, nz) magnitude, if any.
    voxel_size_mm
        Voxel size in mm.

    Returns
    -------
    mask
        (nx, ny, nz) bool.
    origin
        How it was found, in words.

    Raises
    ------
    DataError
        If neither tells.
    """
    known = np.isfinite(field) & (field != 0)
    if known.any() and np.mean(~known) >= LEAST_ZEROS:
        return known, "where the field is not zero"
    if magnitude is None:
        raise DataError("the field is nowhere zero, so that it shows no object; give a mask (--mask)")
    seen = np.where(np.isfinite(magnitude), magnitude, 0)
    mask = tidy(seen > otsu_threshold(seen), voxel_size_mm)
    if not mask.any():
        raise DataError("no object was found in the magnitude; give a mask (--mask)")
    return mask, "from the magnitude (Otsu's threshold)"


def phase_quality(echoes: EchoSeries) -> NDArray[np.float32]:
    """How smoothly the phase runs, per voxel: 1 where it is linear, about 0 in noise.

    The cosine of the phase's second difference, averaged over echoes and axes with the square of the smallest of the
    three magnitudes as weight, then over the neighbourhood of 3 × 3 × 3 voxels.  Noise of standard deviation σ gives
    exp(-3 σ²); wraps and steep fields do not matter.

    Parameters
    ----------
    echoes
        The series.

    Returns
    -------
    ndarray
        (nx, ny, nz), between 0 and 1.
    """
    magnitude, phase = echoes.magnitude, echoes.phase_rad
    return _quality((magnitude[..., echo], np.exp(1j * phase[..., echo])) for echo in range(echoes.echo_count))


def phase_quality_of(signal: NDArray[np.complexfloating], mask: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """See :func:`phase_quality`; of a complex signal (nx, ny, nz, n_echoes), averaged within a mask if there is one."""
    sizes = (np.abs(signal[..., echo]) for echo in range(signal.shape[3]))
    return _quality(
        (
            (size, np.divide(signal[..., echo], size, out=np.zeros_like(signal[..., echo]), where=size > 0))
            for echo, size in enumerate(sizes)
        ),
        mask,
    )


def _quality(
    echoes: Iterable[tuple[NDArray[np.floating], NDArray[np.complexfloating]]], mask: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Phase quality from the magnitude and the unit phasor of every echo."""
    from scipy import ndimage

    total = weights = own_power = np.zeros(())
    for magnitude, phasor in echoes:
        if total.ndim == 0:
            total, weights, own_power = np.zeros((3, *magnitude.shape), np.float32)
        power, unit = np.square(magnitude), phasor.astype(np.complex64)
        own_power += power
        for axis in range(3):
            if magnitude.shape[axis] < 3:
                continue
            inner = tuple(slice(1, -1) if a == axis else slice(None) for a in range(3))
            powers, lines = np.moveaxis(power, axis, 0), np.moveaxis(unit, axis, 0)
            weight = np.minimum(np.minimum(powers[2:], powers[:-2]), powers[1:-1])
            second = lines[2:] * lines[:-2] * np.square(lines[1:-1].conj())
            total[inner] += np.moveaxis(weight * second.real, 0, axis)
            weights[inner] += np.moveaxis(weight, 0, axis)
    # Means of ratios, not ratios of means: a bright voxel must not speak for dark neighbours.
    own = np.divide(total, weights, out=np.zeros_like(total), where=weights > 0)
    if mask is None:
        return np.clip(ndimage.uniform_filter(own, 3, mode="nearest"), 0, 1)
    # A voxel at the rim with no neighbours of its kind on both sides takes the mean of those that have.
    known = mask & (weights > LEAST_WEIGHT * own_power)
    share = ndimage.uniform_filter(known.astype(np.float32), 3, mode="constant")
    mean = ndimage.uniform_filter(np.where(known, own, np.float32(0)), 3, mode="constant")
    return np.where(mask & (share > 0.5 / 27), np.clip(mean / np.maximum(share, 0.5 / 27), 0, 1), np.float32(0))


def tidy(mask: NDArray[np.bool_], voxel_size_mm: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Open a mask by one voxel, keep its large parts, and fill their small holes.

    Parameters
    ----------
    mask
        (nx, ny, nz) bool.
    voxel_size_mm
        Voxel size in mm.
    """
    from scipy import ndimage

    # The image's border is no surface of the object: what touches it stays.
    opened = ndimage.binary_dilation(ndimage.binary_erosion(mask, border_value=1)) & mask
    labels, _ = ndimage.label(opened)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    if not sizes.any():
        return opened
    kept = np.isin(labels, np.flatnonzero(sizes >= max(1.0, SMALLEST_PART * sizes.max())))
    labels, _ = ndimage.label(ndimage.binary_fill_holes(kept) & ~kept)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    small = np.flatnonzero((sizes > 0) & (sizes * np.prod(voxel_size_mm) <= LARGEST_HOLE_MM3))
    return kept | np.isin(labels, small)


def otsu_threshold(values: NDArray[np.floating]) -> float:
    """Threshold that separates two classes of voxels best (Otsu, IEEE Trans Syst Man Cybern 9:62-66, 1979).

    doi 10.1109/TSMC.1979.4310076
    """
    counts, edges = np.histogram(values, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts).astype(float)
    above = below[-1] - below
    first = np.cumsum(counts * centres)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (first / below - (first[-1] - first) / above) ** 2
    return float(centres[int(np.argmax(np.nan_to_num(between)))])
