"""Frequency equalisation (``frequency``): the spectrum should not show where the dipole kernel is small."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.select.curve import Curve
from qsm_recon.select.extremum import crossings
from qsm_recon.select.pick import Pick, none_found

KERNEL_BANDS = ((0.0, 0.08), (0.1, 0.2), (0.22, 0.32))
"""Ranges of |D|: the magic cone, its neighbourhood, and where the field determines the susceptibility."""
RADIAL_BAND = (0.65, 0.95)
"""Range of |k| over the Nyquist frequency of the coarsest axis."""
CORRECTION = 1.75
"""Milovic et al. find the equalised weight too small by 1.5 to 2."""


class Bands:
    """Masks in k-space of one grid.

    Parameters
    ----------
    grid
        Geometry of the maps.
    """

    def __init__(self, grid: Grid) -> None:
        self._operator = DipoleOperator(grid)
        padded = self._operator.padded_grid
        axes = [np.fft.fftfreq(n, h) for n, h in zip(padded.shape, padded.voxel_size_mm, strict=True)]
        axes[2] = np.abs(axes[2][: padded.shape[2] // 2 + 1])
        x, y, z = np.ix_(*(axis.astype(np.float32) for axis in axes))
        radius = np.sqrt(x * x + y * y + z * z) * (2 * max(padded.voxel_size_mm))
        kernel = np.abs(self._operator.transform.spectrum_view(self._operator.kernel))
        shell = (radius > RADIAL_BAND[0]) & (radius < RADIAL_BAND[1])
        self._indices = [np.flatnonzero(shell & (kernel > low) & (kernel < high)) for low, high in KERNEL_BANDS]

    def means(self, susceptibility_ppm: NDArray) -> tuple[float, float, float]:
        """Mean |F χ| in each band."""
        transform = self._operator.transform
        spectrum = transform.forward(transform.load_image(susceptibility_ppm), transform.empty_spectrum())
        values = transform.spectrum_view(spectrum).reshape(-1)
        first, second, third = (float(np.abs(values[index]).mean(dtype=np.float64)) for index in self._indices)
        return first, second, third


def frequency_equalisation(curve: Curve) -> Pick:
    """Weight at which the second and third band have the same mean, times a correction of 1.75.

    Milovic et al., Magn Reson Med 85:480-494 (2021), doi 10.1002/mrm.28435.
    """
    method = "frequency"
    if curve.band_means is None:
        return none_found(method, "the spectra of the maps were not kept")
    t = np.log(curve.parameter)
    excess = np.log(curve.band_means[:, 1] / curve.band_means[:, 2])
    # From the weak side: at strong weights nothing is left of either band, and their ratio means little.
    found = crossings(t, excess)[::-1]
    if not found:
        which = "weak" if excess[0] < 0 else "strong"
        return none_found(
            method, f"no interior optimum: the bands never have equal means; sweep beyond the {which} end"
        )
    value = float(np.exp(found[0]) * CORRECTION)
    if value > curve.parameter[-1]:
        return none_found(method, "no interior optimum: the corrected weight lies beyond the strong end")
    slope = abs(np.interp(found[0], t, np.gradient(excess, t)))
    confidence = float(np.clip(slope / 0.1, 0, 1)) / len(found)
    return Pick(method, value, confidence, "the bands near and off the magic cone have equal means")
