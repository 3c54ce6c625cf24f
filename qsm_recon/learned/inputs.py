"""What the network is given: the field and closed forms of it, in a unit that follows the field."""

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

CHANNELS = ("field", "base", "smooth", "damped", "mask")
FORMS = {"base": (0.003, 0.006), "smooth": (0.0005, 0.05), "damped": (0.03, 0.0)}
"""Closed forms: weights of the squares of the susceptibility and of its differences between neighbouring voxels.

The base, which the network corrects, has about the least error of all on heads of the phantom with other seeds than
those that figures are reported on; the second lets through more near the cone where the dipole kernel is zero, at low
frequencies, and the third less.
"""
FIELD_GAIN = 3.0
"""The field is about a third of the susceptibility."""


@dataclass(frozen=True)
class Inputs:
    """What the network is given.

    Parameters
    ----------
    channels
        (5, nx, ny, nz) float32, see ``CHANNELS``; all but the mask over ``scale_ppm``.
    scale_ppm
        Half of the range that the middle 68 % of the base have in the mask; zero where the field is.
    operator
        The dipole operator, padded, whose kernel the closed forms have.
    """

    channels: NDArray[np.float32]
    scale_ppm: float
    operator: DipoleOperator


def prepare(field_ppm: NDArray, mask: NDArray[np.bool_], grid: Grid) -> Inputs:
    """Compute what the network is given of a field.

    The closed forms are D φ / (D² + u + w |E|²), with E the differences between neighbours, of the field without its
    mean, zero outside the mask.

    Parameters
    ----------
    field_ppm
        (nx, ny, nz) local field, ppm.
    mask
        (nx, ny, nz) boolean.
    grid
        Geometry.
    """
    operator = DipoleOperator(
        grid, padding=padding_around(mask, grid.voxel_size_mm, reach_of(mask, grid.voxel_size_mm))
    )
    field = _without_mean(np.asarray(field_ppm, np.float32), mask)
    channels = np.empty((len(CHANNELS), *mask.shape), np.float32)
    channels[0], channels[-1] = np.float32(FIELD_GAIN) * field, mask
    for channel, weights in zip(channels[1:-1], FORMS.values(), strict=True):
        channel[...] = _without_mean(apply_filter(operator, field, _filter_of(operator, *weights)), mask)
    low, high = np.percentile(channels[1][mask], (16, 84))
    scale = float(high - low) / 2
    channels[:-1] *= np.float32(1 / scale if scale > 0 else 0)
    return Inputs(channels, scale, operator)


def _without_mean(image: NDArray, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    mean = np.float32(image[mask].mean(dtype=np.float64))
    return np.where(mask, image - mean, np.float32(0)).astype(np.float32)


def _filter_of(operator: DipoleOperator, level: float, weight: float) -> NDArray:
    """The closed form as a factor, in a half-image buffer."""
    result = operator.transform.empty_half_image()
    kernel = operator.transform.spectrum_view(operator.kernel)
    squared = _squared_differences(operator.padded_grid.shape)
    operator.transform.spectrum_view(result)[...] = kernel / (kernel * kernel + level + weight * squared)
    return result


@lru_cache(maxsize=1)
def _squared_differences(shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """|E|² on the half-spectrum, per voxel."""
    x, y, z = (squared_difference_symbol(n) for n in shape)
    half = z[: shape[2] // 2 + 1]
    return (x[:, None, None] + y[:, None] + half).astype(np.float32)
