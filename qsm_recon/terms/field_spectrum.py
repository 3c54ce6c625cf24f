"""The spectrum of a field, shell by shell, near the magic cone and off it.

Near the cone the dipole kernel vanishes, so that no susceptibility is seen there: what is there is error, be it noise,
what background removal left, or what is no dipole field at all.  It is the one part of a field map in which its errors
show by themselves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.fft import FourierTransform
from qsm_recon.backend.transforms import fourier_transform
from qsm_recon.operators.dipole import dipole_kernel
from qsm_recon.operators.grid import Grid
from qsm_recon.operators.padding import padded_shape

SHELL_EDGES = (0.05, 0.08, 0.12, 0.18, 0.26, 0.36, 0.48, 0.62, 0.8, 1.0)
"""|k| over Nyquist's along each axis."""
KERNEL_EDGES = (0.0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.25, 0.3, 0.36, 0.45, 0.55, 0.68)
"""|D|."""
CONE_BANDS = 2
"""Bands of |D| that count as cone."""
TRUSTED_BAND = 3
"""First band in which the susceptibility is seen well."""
FEWEST_SAMPLES = 12


class SpectralBins:
    """Shells of |k| and bands of |D| on the half-spectrum of one grid.

    Parameters
    ----------
    grid
        Geometry of the images.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.shells, self.bands = len(SHELL_EDGES) - 1, len(KERNEL_EDGES) - 1
        nx, ny, nz = grid.shape
        axes = [np.fft.fftfreq(nx), np.fft.fftfreq(ny), np.fft.rfftfreq(nz)]
        squared = sum(np.square(2 * axis) for axis in np.ix_(*axes))
        self._radius = np.sqrt(squared).astype(np.float32)
        shell = np.digitize(self._radius, SHELL_EDGES) - 1
        band = np.clip(np.digitize(np.abs(dipole_kernel(grid)), KERNEL_EDGES) - 1, 0, self.bands - 1)
        outside = (shell < 0) | (shell >= self.shells)
        self._bin = np.where(outside, self.shells * self.bands, shell * self.bands + band).astype(np.int16).ravel()
        # Frequencies of the half-spectrum stand for two, but on its first plane and, for an even size, its last.
        twice = np.full(nz // 2 + 1, 2, np.float32)
        twice[0] = 1
        if nz % 2 == 0:
            twice[-1] = 1
        self.twice = twice
        self.counts = self._sum(np.broadcast_to(twice, (nx, ny, twice.size)))

    @classmethod
    def padded(cls, grid: Grid) -> SpectralBins:
        """Bins for images on a grid, whose transforms are of the next size that is fast."""
        return cls(grid.resized(padded_shape(grid.shape)))

    def transform(self, image: NDArray[np.floating]) -> NDArray[np.complexfloating]:
        """Half-spectrum of an image that is at most as large as the grid, with zeros around it."""
        transform = self._transform_of(image.dtype)
        return transform.spectrum_view(transform.forward(transform.load_image(image), transform.empty_spectrum()))

    def image(self, spectrum: NDArray[np.complexfloating] | NDArray[np.floating]) -> NDArray[np.floating]:
        """Image (nx, ny, nz) of a half-spectrum."""
        transform = self._transform_of(spectrum.real.dtype)
        buffer = transform.empty_spectrum()
        transform.spectrum_view(buffer)[...] = spectrum
        found = transform.image_view(transform.inverse(buffer, transform.empty_image()))
        found /= transform.dtype.type(transform.n_voxels)
        return found

    def _transform_of(self, dtype: np.dtype) -> FourierTransform:
        # Not SciPy's, whose import takes several times as long as these transforms.
        return fourier_transform(self.grid.shape, np.result_type(dtype, np.float32).name)

    def power(self, first: NDArray[np.complexfloating], second: NDArray | None = None) -> NDArray[np.float64]:
        """Mean of |X|², or of the real part of conj(X) Y, in each bin; (shells, bands), 0 where there is no sample."""
        return self.mean(
            np.square(first.real) + np.square(first.imag) if second is None else (first.conj() * second).real
        )

    def mean(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Mean of real values on the half-spectrum in each bin; (shells, bands), 0 where there is no sample."""
        return self._sum(values * self.twice) / np.maximum(self.counts, 1)

    def scattered(self, power: NDArray[np.floating], window: NDArray[np.floating]) -> NDArray[np.floating]:
        """Expected power of a random image of some spectrum that is seen through a window only.

        Parameters
        ----------
        power
            Power per voxel on the half-spectrum.
        window
            Factor on the image, at most as large as the grid.

        Returns
        -------
        ndarray
            The same of the product, per voxel and square of the window: every frequency gets from its neighbours what
            the window's edge scatters.
        """
        spectrum = self.transform(window)
        # The covariance of the product is that of the image times the window's correlation with itself.
        overlap = self.image(np.square(spectrum.real) + np.square(spectrum.imag))
        overlap *= self.image(power)
        size = float(np.square(window, dtype=np.float64).sum())
        return self.transform(overlap).real / size

    def cone(self, power: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over the cone of each shell; of all shells together where a shell has too few samples."""
        counts, part = self.counts[:, :CONE_BANDS], power[:, :CONE_BANDS]
        samples = counts.sum(axis=1)
        if not samples.any():
            return power.sum(axis=1) / np.maximum((power > 0).sum(axis=1), 1)
        everywhere = float((counts * part).sum() / samples.sum())
        enough = samples >= FEWEST_SAMPLES
        return np.where(enough, (counts * part).sum(axis=1) / np.maximum(samples, 1), everywhere)

    def off_cone(self, power: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of each shell over the bands in which susceptibility is seen well."""
        counts = self.counts[:, TRUSTED_BAND:]
        return (counts * power[:, TRUSTED_BAND:]).sum(axis=1) / np.maximum(counts.sum(axis=1), 1)

    def spread(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Values (shells,) at all frequencies of the half-spectrum, between the middles of the shells in proportion."""
        centres = np.sqrt(np.multiply(SHELL_EDGES[:-1], SHELL_EDGES[1:]))
        return np.interp(self._radius, centres, values).astype(np.float32)

    def coloured_noise(self, power: NDArray[np.float64], seed: int) -> NDArray[np.float32]:
        """Gaussian noise (nx, ny, nz) whose variance per frequency follows a power by shell (shells,)."""
        white = np.random.default_rng(seed).standard_normal(self.grid.shape, dtype=np.float32)
        spectrum = self.transform(white)
        spectrum *= self.spread(np.sqrt(power))
        return self.image(spectrum)

    def _sum(self, values: NDArray) -> NDArray[np.float64]:
        size = self.shells * self.bands
        sums = np.bincount(self._bin, np.ascontiguousarray(values, dtype=np.float64).ravel(), size + 1)
        return np.asarray(sums[:size], dtype=np.float64).reshape(self.shells, self.bands)
