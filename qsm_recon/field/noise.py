"""The noise of the complex signal, and what it does to a frequency."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import ParameterError
from qsm_recon.field.voxels import VoxelList

ASSUMED_NOISE = 0.01


@dataclass(frozen=True)
class NoiseLevel:
    """Standard deviation of the noise of the real and imaginary channel, in units of the magnitude.

    Attributes
    ----------
    sigma
        The standard deviation.
    origin
        ``"given"``; ``"residuals"``, the median misfit over the mask divided by the median of the chi-squared
        distribution it follows (half of the voxels may break the model without moving it); or ``"assumed"``
        where no echo is left over to judge by, or no voxel has signal in all of them: 1 % of the 99th percentile of
        the first-echo magnitude (of the largest magnitude where that is zero).  A noise map from an assumed level is
        right up to a factor common to all voxels.
    """

    sigma: float
    origin: str

    def frequency_noise(self, information: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the standard deviation (Hz) for the inverse variance of 2 pi f at unit noise, 0 where that is 0."""
        determined = information > 0
        noise = self.sigma / (2.0 * math.pi * np.sqrt(np.where(determined, information, 1.0)))
        return np.where(determined, noise, 0.0)


def noise_level(
    voxels: VoxelList, misfit: NDArray[np.float64] | None, parameters: int, sigma: float | None
) -> NoiseLevel:
    """Take the noise level as given, or estimate it from ``sum |S - model|^2`` of a fit of ``parameters`` phases.

    Raises
    ------
    ParameterError
        If a given level is not positive.
    """
    if sigma is not None:
        if not (math.isfinite(sigma) and sigma > 0):
            raise ParameterError(f"noise_sigma is {sigma:g}: expected a positive number in units of the magnitude")
        return NoiseLevel(float(sigma), "given")
    freedom = voxels.echo_times.size - parameters
    bright = float(np.percentile(voxels.magnitude[:, 0], 99)) or float(voxels.magnitude.max(initial=0.0))
    if misfit is not None and not voxels.magnitude.min(initial=1.0) > 0:  # rare, and much quicker to find than where
        misfit = misfit[np.all(voxels.magnitude > 0, axis=1)]
    if misfit is None or misfit.size == 0 or freedom < 1:
        return NoiseLevel(ASSUMED_NOISE * bright, "assumed")
    from scipy import special

    typical = float(np.median(misfit))
    chi_squared_median = 2.0 * float(special.gammaincinv(0.5 * freedom, 0.5))
    # Data without noise still carry the rounding of their float32 values.
    rounding = float(np.finfo(np.float32).eps) * bright
    return NoiseLevel(max(math.sqrt(typical / chi_squared_median), rounding), "residuals")
