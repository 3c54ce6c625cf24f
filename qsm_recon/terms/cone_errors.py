"""The errors of a field from what its spectrum holds near the magic cone, less what long voxels put there.

Susceptibility shows near the cone as well, if little: the kernel is zero on it only, and the edge of the mask scatters
what the neighbouring frequencies hold.  In voxels that are long along one axis that is nearly all that is there: their
cone lies at frequencies that are coarse along the others, where objects have their power, and not at those that shells
over Nyquist's frequency compare it with.  How much it is follows from the spectrum of the susceptibility over |k| in
1/mm, which shows off the cone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.terms.field_spectrum import SpectralBins
from qsm_recon.terms.radial_spectrum import RadialSpectrum

COARSE_SHELLS = 3
"""Shells (|k| below 0.18 of Nyquist's) that do not count: background, where there is any, is there."""
FINE_SHELLS = 6
"""First of the shells (|k| from half of Nyquist's on) that the errors are read off."""
PASSES = 2
"""Times that the spectrum of the susceptibility and the errors are found from one another."""
USUAL_SHARE = 0.04
"""Power near the cone over that off it which susceptibility makes in voxels that are nearly cubes (0.03 to 0.04 at fine
scales).  It stays in the errors: the constants of default weights were decided with it."""
LEAST_LEFT = 0.5
"""Of the power off the cone that must not be near it, for a shell to tell errors from susceptibility."""
LARGE_EXCESS = 0.25
"""What of it is more than usual where most that shows near the cone is susceptibility."""


@dataclass(frozen=True)
class ConeErrors:
    """Errors of a field.

    Parameters
    ----------
    fine
        Power per voxel at fine scales, in ppm².
    shells
        (shells,) power per voxel of each shell, in ppm².
    bounds
        (shells,) what the errors of a shell do not exceed, in ppm², where more than usual of what is near its cone is
        susceptibility; infinite where not.
    """

    fine: float
    shells: NDArray[np.float64]
    bounds: NDArray[np.float64]


def cone_errors(bins: SpectralBins, spectrum: NDArray[np.complexfloating], window: NDArray[np.floating]) -> ConeErrors:
    """Read the errors of a field off its spectrum.

    Parameters
    ----------
    bins
        Shells and bands.
    spectrum
        Half-spectrum of the field (ppm) times the window.
    window
        (nx, ny, nz) what it was multiplied by, so that the mask ends smoothly.
    """
    # Small masks of cubes scatter more than usual too, and default weights were decided with that.
    elongated = min(max(bins.grid.voxel_size_mm) / min(bins.grid.voxel_size_mm) - 1, 1.0)
    size = float(np.square(window, dtype=np.float64).sum())
    density = (np.square(spectrum.real) + np.square(spectrum.imag)) / np.float32(size)
    power = bins.mean(density)
    cone, off = bins.cone(power), bins.off_cone(power)
    counts, bounds = _fine_counts(bins), np.full_like(cone, np.inf)
    fine = float(np.average(cone, weights=counts))
    if elongated == 0:
        return ConeErrors(fine, cone, bounds)
    radii = RadialSpectrum(bins)
    if not radii.any:
        return ConeErrors(fine, cone, bounds)
    seen = radii.mean(density)
    most = min(float(np.nanmin(seen)), fine)
    fine, shells = most, cone
    for _ in range(PASSES):
        susceptibility = radii.spread(radii.susceptibility(seen, fine))
        expected = bins.mean(bins.scattered(radii.squared_kernel * susceptibility, window))
        expected_off = bins.off_cone(expected)
        share = np.divide(bins.cone(expected), expected_off, out=np.zeros_like(off), where=expected_off > 0)
        excess = np.clip(share - USUAL_SHARE, 0, 1) * elongated
        left = 1 - excess
        told = left >= LEAST_LEFT
        shells = np.divide(cone - excess * off, left, out=np.minimum(cone, off), where=told)
        shells = np.clip(shells, np.minimum(USUAL_SHARE * off, cone), cone)
        weight = np.where(told, counts, 0)
        # Errors do not exceed what is seen at any scale, where nothing else is known of them.
        fine = float(np.average(shells, weights=weight)) if weight.any() else most
        large = excess > LARGE_EXCESS
        if large[COARSE_SHELLS:].any():
            bounds = np.where(large, np.where(told, shells, fine), np.inf)
    return ConeErrors(fine, shells, bounds)


def _fine_counts(bins: SpectralBins) -> NDArray[np.float64]:
    """Samples of each shell, none of the coarse ones; of all where there are no fine ones."""
    counts = bins.counts.sum(axis=1)
    fine = np.where(np.arange(counts.size) >= FINE_SHELLS, counts, 0.0)
    return fine if fine.any() else np.ones_like(fine)
