"""What the network is given: the field, a map to correct, and what that leaves of the field, in a unit of the map."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qsm_recon.engines.closed_form import apply_filter
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.gradient import squared_difference_symbol
from qsm_recon.operators.grid import Grid
from qsm_recon.operators.padding import padding_around, reach_of

CHANNELS = ("field", "base", "left", "missing", "mask")
"""The field, the map that the network corrects, what that leaves of the field, a closed form of this, and the mask."""
LEVEL, WEIGHT = 0.01, 0.01
"""Of the closed form: weights of the squares of susceptibility and of its differences between neighbouring voxels."""
FIELD_GAIN, LEFT_GAIN, MISSING_GAIN = 3.0, 10.0, 3.0
"""Bring the channels to about the size of the map."""


@dataclass(frozen=True)
class Inputs:
    """What the network is given.

    Parameters
    ----------
    channels
        (5, nx, ny, nz) float32, see ``CHANNELS``; all but the mask over ``scale_ppm`` and times a gain.
    scale_ppm
        Half of the range that the middle 68 % of the base have in the mask; zero where the base is constant.
    operator
        The dipole operator, padded.
    """

    channels: NDArray[np.float32]
    scale_ppm: float
    operator: DipoleOperator


def prepare(field_ppm: NDArray, base_ppm: NDArray, mask: NDArray[np.bool_], grid: Grid) -> Inputs:
    """Compute what the network is given of a field and of a map to correct.

    The closed form is D r / (D² + u + w |E|²), with r the field that the map leaves unexplained, zero outside the
    mask, and E the differences between neighbours.

    Parameters
    ----------
    field_ppm
        (nx, ny, nz) local field, ppm.
    base_ppm
        (nx, ny, nz) susceptibility to correct, ppm.
    mask
        (nx, ny, nz) boolean.
    grid
        Geometry.
    """
    operator = DipoleOperator(
        grid, padding=padding_around(mask, grid.voxel_size_mm, reach_of(mask, grid.voxel_size_mm))
    )
    channels = np.empty((len(CHANNELS), *mask.shape), np.float32)
    field, base, left, missing, inside = channels
    inside[...] = mask
    field[...] = _without_mean(np.asarray(field_ppm, np.float32), mask)
    left[...] = _without_mean(field - operator.forward(np.where(mask, base_ppm, 0).astype(np.float32)), mask)
    base[...] = _without_mean(np.asarray(base_ppm, np.float32), mask)
    missing[...] = _without_mean(apply_filter(operator, left, _filter_of(operator)), mask)
    low, high = np.percentile(base[mask], (16, 84))
    scale = float(high - low) / 2
    gains = np.array([FIELD_GAIN, 1.0, LEFT_GAIN, MISSING_GAIN], np.float32)
    channels[:-1] *= (gains / np.float32(scale) if scale > 0 else 0 * gains)[:, None, None, None]
    return Inputs(channels, scale, operator)


def _without_mean(image: NDArray, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    mean = np.float32(image[mask].mean(dtype=np.float64))
    return np.where(mask, image - mean, np.float32(0)).astype(np.float32)


def _filter_of(operator: DipoleOperator) -> NDArray:
    """The closed form as a factor, in a half-image buffer."""
    result = operator.transform.empty_half_image()
    kernel = operator.transform.spectrum_view(operator.kernel)
    squared = _squared_differences(operator.padded_grid.shape)
    operator.transform.spectrum_view(result)[...] = kernel / (kernel * kernel + LEVEL + WEIGHT * squared)
    return result


@lru_cache(maxsize=1)
def _squared_differences(shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """|E|² on the half-spectrum, per voxel."""
    x, y, z = (squared_difference_symbol(n) for n in shape)
    half = z[: shape[2] // 2 + 1]
    return (x[:, None, None] + y[:, None] + half).astype(np.float32)
