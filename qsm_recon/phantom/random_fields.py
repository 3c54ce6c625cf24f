"""Band-limited random fields in physical coordinates.

A field lives on a small lattice that resolves its wavelength and is evaluated on any rectangular grid, so that the
same seed gives the same anatomy at every resolution.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.threads import thread_count

FloatArray = NDArray[np.floating]

HALF_BOX_MM = (96.0, 116.0, 116.0)
"""Half lengths of the box, about the centre of the field of view, in which every random field is defined."""
POINTS_PER_WAVELENGTH = 6.0


def generator(seed: int, name: str) -> np.random.Generator:
    """Return an independent random stream for each named ingredient, whatever the order they are asked for."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


@dataclass(frozen=True)
class SmoothField:
    """Samples of a smooth function on a regular lattice.

    Parameters
    ----------
    values
        (nx, ny, nz) lattice samples.
    origin_mm
        Position of the first sample.
    spacing_mm
        Lattice spacing, the same along all axes.
    """

    values: FloatArray
    origin_mm: tuple[float, float, float]
    spacing_mm: float

    def on(self, *axes_mm: NDArray[np.floating]) -> FloatArray:
        """Evaluate on the rectangular grid spanned by three coordinate axes (mm), by separable cubic splines."""
        return self.prepared(*axes_mm[1:]).on(axes_mm[0])

    def prepared(self, y_mm: NDArray[np.floating], z_mm: NDArray[np.floating]) -> PreparedField:
        """Evaluate along the last two axes now, for grids that are then worked through plane by plane."""
        result = self.values
        for axis, positions in ((1, y_mm), (2, z_mm)):
            matrix = _cubic_matrix((positions - self.origin_mm[axis]) / self.spacing_mm, self.values.shape[axis])
            result = np.moveaxis(np.tensordot(matrix, result, axes=(1, axis)), 0, axis)
        return PreparedField(np.ascontiguousarray(result), self.origin_mm[0], self.spacing_mm)

    def at(self, points_mm: Sequence[NDArray[np.floating]] | NDArray[np.floating]) -> FloatArray:
        """Evaluate at arbitrary points, given as three coordinate arrays of one shape (mm), by trilinear lookup."""
        from scipy.ndimage import map_coordinates

        index = [(p - o) / self.spacing_mm for p, o in zip(points_mm, self.origin_mm, strict=True)]
        return np.asarray(map_coordinates(self.values, index, order=1, mode="nearest"), dtype=np.float32)

    def gradient_at(
        self, points_mm: Sequence[NDArray[np.floating]] | NDArray[np.floating], step_mm: float = 1.0
    ) -> FloatArray:
        """Central-difference gradient at arbitrary points, stacked along a new first axis (per mm)."""
        parts = []
        for axis in range(3):
            ahead, behind = list(points_mm), list(points_mm)
            ahead[axis], behind[axis] = ahead[axis] + step_mm, behind[axis] - step_mm
            parts.append((self.at(ahead) - self.at(behind)) / (2 * step_mm))
        return np.stack(parts)


@dataclass(frozen=True)
class PreparedField:
    """A smooth field on the final grid in y and z, and still on its lattice in x."""

    values: FloatArray
    origin_mm: float
    spacing_mm: float

    def on(self, x_mm: NDArray[np.floating]) -> FloatArray:
        """Evaluate on planes of constant x (mm)."""
        first, weights = _cubic_weights((x_mm - self.origin_mm) / self.spacing_mm, self.values.shape[0])
        result = weights[0][:, None, None] * self.values[first]
        for tap in range(1, 4):
            result += weights[tap][:, None, None] * self.values[first + tap]
        return result


def random_field(
    seed: int,
    name: str,
    wavelength_mm: float,
    bandwidth: float | None = None,
    points_per_wavelength: float = POINTS_PER_WAVELENGTH,
) -> SmoothField:
    """Unit-variance Gaussian random field.

    Parameters
    ----------
    seed, name
        Select the random stream.
    wavelength_mm
        Centre wavelength of the band, or with no ``bandwidth`` the scale above which all wavelengths are present.
    bandwidth
        Relative width of the band; none for a low-pass field.
    points_per_wavelength
        Density of the lattice.
    """
    from scipy import fft

    spacing = wavelength_mm / points_per_wavelength
    shape = tuple(fft.next_fast_len(int(np.ceil(2 * half / spacing)) + 5, real=True) for half in HALF_BOX_MM)
    white = generator(seed, name).standard_normal(shape, dtype=np.float32)
    frequencies = [fft.fftfreq(shape[0], spacing), fft.fftfreq(shape[1], spacing), fft.rfftfreq(shape[2], spacing)]
    k = np.sqrt(sum(f**2 for f in np.meshgrid(*frequencies, indexing="ij", sparse=True)))
    centre = 1.0 / wavelength_mm
    if bandwidth is None:
        response = np.exp(-0.5 * (k / centre) ** 2 * 2.0)
    else:
        response = np.exp(-0.5 * ((k - centre) / (bandwidth * centre)) ** 2)
    response[0, 0, 0] = 0.0
    spectrum = fft.rfftn(white, workers=thread_count())
    spectrum *= response.astype(np.float32)
    values = fft.irfftn(spectrum, s=shape, workers=thread_count())
    values /= values.std()
    origin = tuple(-spacing * (n - 1) / 2 for n in shape)
    return SmoothField(values.astype(np.float32), (origin[0], origin[1], origin[2]), spacing)


def _cubic_weights(positions: NDArray[np.floating], size: int) -> tuple[NDArray[np.intp], FloatArray]:
    """First of the four samples around each position, and their (4, positions) cubic B-spline weights."""
    first = np.clip(np.floor(positions).astype(np.intp), 1, size - 3) - 1
    t = positions - (first + 1)
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3]) / 6.0
    return first, weights.astype(np.float32)


def _cubic_matrix(positions: NDArray[np.floating], size: int) -> FloatArray:
    """Matrix (positions, size) of cubic B-spline weights: smooth to second order, slightly low-pass."""
    first, weights = _cubic_weights(positions, size)
    matrix = np.zeros((len(positions), size), dtype=np.float32)
    for tap in range(4):
        matrix[np.arange(len(positions)), first + tap] = weights[tap]
    return matrix
