"""What a field is made of, frequency by frequency: susceptibility, and errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.operators.dipole import dipole_kernel
from qsm_recon.operators.grid import Grid
from qsm_recon.terms.cone_errors import USUAL_SHARE
from qsm_recon.terms.field_scale import FieldScale
from qsm_recon.terms.field_spectrum import SpectralBins
from qsm_recon.terms.radial_spectrum import Profile, RadialSpectrum, radius_of

STRUCTURED = 0.6
"""Part of the errors near the magic cone, beyond those of the finest scales, that is taken to hold at all frequencies.
Noise is alike in all directions; what else there is need not be: in the 2016 challenge's data it is 1.8 times as large
near the cone as off it.  On phantoms and simulated heads anything from 0.5 to 1 serves alike."""


@dataclass(frozen=True)
class FieldSpectra:
    """What a field is made of: the spectra of its susceptibility and of its errors, per voxel.

    Parameters
    ----------
    susceptibility
        Over |k| in 1/mm.
    errors
        (shells,) by shells of |k| over Nyquist's along each axis, in ppm².
    """

    susceptibility: Profile
    errors: tuple[float, ...]

    def on(self, grid: Grid) -> ExpectedError:
        """What filters on a grid make of them; its voxels are those of the field."""
        bins = SpectralBins(grid)
        weights = bins.twice / np.float32(np.prod(grid.shape))
        return ExpectedError(
            dipole_kernel(grid),
            self.susceptibility.at(radius_of(grid)) * weights,
            bins.spread(np.asarray(self.errors)) * weights,
        )


@dataclass(frozen=True)
class ExpectedError:
    """The error of a filter's map, before there is one.

    Parameters
    ----------
    kernel
        D on the half-spectrum of a grid.
    susceptibility
        Power S there, so that its sum is that per voxel, in ppm².
    errors
        The same of the field's errors, E.
    """

    kernel: NDArray[np.floating]
    susceptibility: NDArray[np.floating]
    errors: NDArray[np.floating]

    def of(self, transfer: NDArray[np.floating]) -> float:
        """Expected mean square error of the map, in ppm².

        Parameters
        ----------
        transfer
            F: what the field's half-spectrum is multiplied by.  What it loses of the susceptibility is (1 - F D)² S, on
            the cone too, and what it lets through of the errors F² E.
        """
        lost = np.square(1.0 - transfer * self.kernel) * self.susceptibility
        let_through = np.square(transfer) * self.errors
        return float((lost + let_through).sum(dtype=np.float64))


def field_spectra(field: NDArray[np.floating], mask: NDArray[np.bool_], grid: Grid, scale: FieldScale) -> FieldSpectra:
    """Read the spectra off a field.

    The mask is taken as it is: what its edge scatters over the cone is an error of a filter's map as well.

    Parameters
    ----------
    field
        (nx, ny, nz) local field in ppm, less its constant, which the edge would scatter all over the cone.
    mask
        (nx, ny, nz) where it is known.
    grid
        Geometry of both.
    scale
        Of the same field.
    """
    bins = SpectralBins.padded(grid)
    spectrum = bins.transform(np.where(mask, field, 0).astype(np.float32))
    density = (np.square(spectrum.real) + np.square(spectrum.imag)) / np.float32(max(int(np.count_nonzero(mask)), 1))
    del spectrum
    power = bins.mean(density)
    # Not all of it is error: susceptibility shows near the cone as well, and more of it in long voxels.
    cone = np.minimum(bins.cone(power), scale.error_bounds)
    least = np.minimum(cone, scale.error_ppm**2)
    errors = np.clip(cone - USUAL_SHARE * bins.off_cone(power), least, cone)
    errors = errors.min() + STRUCTURED * (errors - errors.min())
    radii = RadialSpectrum(bins)
    susceptibility = radii.susceptibility(radii.mean(density - bins.spread(errors)), 0.0)
    return FieldSpectra(susceptibility, tuple(errors.tolist()))
