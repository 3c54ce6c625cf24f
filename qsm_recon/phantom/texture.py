"""Texture inside tissue: the published model's, and one of any strength and spectrum.

The second is a Gaussian random field whose power spectral density falls as a power of the spatial frequency, as that of
real susceptibility maps does (docs/phantom.md).  It is put together from octaves, each on a small periodic lattice of
its own, so that the same seed gives the same texture at every resolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.threads import thread_count
from qsm_recon.phantom.geometry import ImageGrid
from qsm_recon.phantom.random_fields import PreparedField, generator, random_field

FloatArray = NDArray[np.floating]

LONGEST_MM, SHORTEST_MM = 64.0, 2.0
"""Wavelengths of the first and last octave."""
OCTAVE_WIDTH = 0.6
"""Standard deviation, in octaves, of the Gaussian that is an octave's share of the power: their sum is level."""
POINTS_PER_WAVELENGTH = 6
LATTICE_POINTS = 160
"""Largest lattice of an octave along one axis: its texture repeats after 27 wavelengths, or not within the head."""
EXTENT_MM = 260.0


@dataclass(frozen=True)
class Texture:
    """A random texture of unit variance with structure at several scales."""

    parts: tuple[tuple[np.float32, PreparedField], ...]

    @classmethod
    def draw(cls, seed: int, name: str, grid: ImageGrid) -> Texture:
        """Draw the texture that belongs to a seed and a name."""
        parts = []
        for scale_mm, weight, points in ((40.0, 0.6, 6.0), (13.0, 0.55, 6.0), (5.0, 0.58, 4.0)):
            field = random_field(seed, f"{name} {scale_mm:g} mm", scale_mm, None, points)
            parts.append((np.float32(weight), field.prepared(*grid.axes_mm[1:])))
        return cls(tuple(parts))

    def on(self, x_mm: FloatArray) -> FloatArray:
        """Evaluate on planes of constant x."""
        values = [weight * field.on(x_mm) for weight, field in self.parts]
        return values[0] + values[1] + values[2]


def power_law_texture(
    seed: int, name: str, strength: float, slope: float, axes_mm: Sequence[NDArray[np.floating]], spacing_mm: float
) -> NDArray[np.float32]:
    """Gaussian random field with a power spectral density proportional to frequency to the power ``-slope``.

    Parameters
    ----------
    seed, name
        Select the random stream.
    strength
        Standard deviation of the texture with all its octaves, in the unit of the result.  A grid that resolves fewer
        of them gets the rest as it is, hence a smaller deviation.
    slope
        Exponent; 3 puts the same power into every octave.
    axes_mm
        The three coordinate axes of a rectangular grid.
    spacing_mm
        Voxel of that grid: wavelengths below twice its size are left out.

    Returns
    -------
    ndarray
        (nx, ny, nz) values.
    """
    density = strength**2 / _variance(slope)
    total = np.zeros(tuple(len(axis) for axis in axes_mm), np.float32)
    wavelength = LONGEST_MM
    while wavelength >= SHORTEST_MM:
        # Half an octave of tolerance: what the grid cannot hold is cut off inside the octave.
        if wavelength > math.sqrt(2) * spacing_mm:
            values, spacing = _octave(seed, name, wavelength, density, slope, 2 * spacing_mm)
            total += _interpolated(values, [axis / spacing for axis in axes_mm])
        wavelength /= 2
    return total


def _share(frequency: FloatArray, wavelength_mm: float) -> FloatArray:
    """Part of the power at each frequency (1/mm) that an octave carries; zero at frequency zero."""
    with np.errstate(divide="ignore"):
        octaves = np.log2(frequency * wavelength_mm)
    return np.exp(-0.5 * (octaves / OCTAVE_WIDTH) ** 2) / (OCTAVE_WIDTH * math.sqrt(2 * math.pi))


def _variance(slope: float) -> float:
    """Variance of the whole process when its power spectral density is frequency to the power ``-slope``."""
    log_frequency, step = np.linspace(math.log(0.1 / LONGEST_MM), math.log(10 / SHORTEST_MM), 2000, retstep=True)
    frequency = np.exp(log_frequency)
    octaves = range(round(math.log2(LONGEST_MM / SHORTEST_MM)) + 1)
    power = sum(_share(frequency, LONGEST_MM / 2**octave) for octave in octaves)
    return float(np.sum(4 * np.pi * frequency ** (3 - slope) * power) * step)


def _octave(
    seed: int, name: str, wavelength_mm: float, density: float, slope: float, shortest_mm: float
) -> tuple[FloatArray, float]:
    """Spline coefficients of one octave on its periodic lattice, and the lattice spacing (mm)."""
    from scipy import fft

    spacing = wavelength_mm / POINTS_PER_WAVELENGTH
    count = min(LATTICE_POINTS, fft.next_fast_len(math.ceil(EXTENT_MM / spacing), real=True))
    shape = (count, count, count)
    spectrum = fft.rfftn(
        generator(seed, f"{name} {wavelength_mm:g} mm").standard_normal(shape, dtype=np.float32),
        workers=thread_count(),
    )
    axes = [fft.fftfreq(count), fft.fftfreq(count), fft.rfftfreq(count)]
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*axes, indexing="ij", sparse=True))) / spacing
    frequency[0, 0, 0] = np.inf
    power = density * frequency**-slope * _share(frequency, wavelength_mm)
    power[~(frequency <= 1 / shortest_mm)] = 0  # at frequency zero too
    # White noise of unit variance has the density spacing³; cubic splines blur what their coefficients hold.
    response = np.sqrt(power / spacing**3)
    for f in np.meshgrid(*axes, indexing="ij", sparse=True):
        response /= (2 + np.cos(2 * np.pi * f)) / 3
    spectrum *= response.astype(np.float32)
    return fft.irfftn(spectrum, s=shape, workers=thread_count()), spacing


def _interpolated(coefficients: FloatArray, positions: Sequence[FloatArray]) -> FloatArray:
    """Cubic spline on a rectangular grid, periodic in every direction; positions in lattice steps."""
    result = coefficients
    for axis, position in enumerate(positions):
        matrix = _periodic_spline(position, coefficients.shape[axis])
        result = np.moveaxis(np.tensordot(matrix, result, axes=(1, axis)), 0, axis)
    return result


def _periodic_spline(positions: FloatArray, size: int) -> NDArray[np.float32]:
    """Matrix (positions, size) of cubic B-spline weights on a periodic lattice."""
    first = np.floor(positions).astype(np.intp)
    t = positions - first
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3]) / 6.0
    matrix = np.zeros((len(positions), size), np.float32)
    for tap in range(4):
        # Added, as a lattice shorter than four samples would meet itself.
        np.add.at(matrix, (np.arange(len(positions)), (first - 1 + tap) % size), weights[tap].astype(np.float32))
    return matrix
