"""Convolution of an image that is zero outside its grid, by transforms of a padded grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

from qsm_recon.operators.padding import padded_shape


class PaddedTransform:
    """Transforms of images of one shape on a larger grid, with their own buffers; for one thread of callers.

    Parameters
    ----------
    shape
        (nx, ny, nz) of the images.
    margin
        Zeros appended along each axis, at least.
    dtype
        float32 or float64.
    """

    def __init__(self, shape: tuple[int, int, int], margin: tuple[int, int, int], dtype: DTypeLike) -> None:
        from qsm_recon.backend.transforms import fourier_transform

        self.shape = shape
        self.padded_shape = padded_shape(shape, margin)
        self._transform = fourier_transform(self.padded_shape, np.dtype(dtype).name)
        self.dtype = self._transform.dtype
        self._image = self._transform.empty_image()
        self._spectrum = self._transform.empty_spectrum()

    def forward(self, image: NDArray) -> NDArray[np.complexfloating]:
        """Return the half-spectrum of an image, divided by the number of voxels; a copy."""
        nx, ny, nz = self.shape
        self._image[...] = 0
        self._image[:nx, :ny, :nz] = image
        self._transform.forward(self._image, self._spectrum)
        return self._transform.spectrum_view(self._spectrum) * self.dtype.type(1.0 / self._transform.n_voxels)

    def inverse(self, spectrum: NDArray[np.complexfloating]) -> NDArray[np.floating]:
        """Return the image of a half-spectrum that :meth:`forward` gave, cropped; a copy."""
        nx, ny, nz = self.shape
        self._transform.spectrum_view(self._spectrum)[...] = spectrum
        return self._transform.inverse(self._spectrum, self._image)[:nx, :ny, :nz].copy()

    def kernel_of(self, point_spread: NDArray[np.floating]) -> NDArray[np.floating]:
        """Real transform of a symmetric image of the padded shape whose centre is voxel (0, 0, 0)."""
        image = self._transform.load_image(point_spread)
        spectrum = self._transform.forward(image, self._transform.empty_spectrum())
        return self._transform.spectrum_view(spectrum).real.copy()
