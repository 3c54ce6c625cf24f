"""What susceptibility can explain of a field in a small box: a robust fit that tells aliases apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.operators.dipole import dipole_kernel
from qsm_recon.operators.gradient import forward_difference
from qsm_recon.operators.grid import Grid
from qsm_recon.operators.padding import padded_shape

PADDING = 10
"""Voxels around the box in which sources may lie too."""
LAPLACE_SCALE = 4.0
"""Typical step of susceptibility between voxels, per mm, over the ambiguity of the field."""
SMOOTHING = 0.01
"""Step below which the total variation is taken as quadratic, in the same measure."""
CG_ITERATIONS = 8
CG_TOLERANCE = 1e-3


class LocalDipoleFit:
    r"""Susceptibility of a box, fitted to a field some of whose values may be wrong.

    Minimises :math:`\sum_v \rho(D\chi + c - f) + \lambda \|\nabla\chi\|_1` with Cauchy's ρ, by reweighted least
    squares; the sums that conjugate gradient minimises in turn lie above it.  The constant c takes up what far
    sources leave; those nearby lie in a padded margin.

    Parameters
    ----------
    grid
        Of the box.
    period_hz
        Ambiguity of the field, which sets the scale of the prior.
    """

    def __init__(self, grid: Grid, period_hz: float) -> None:
        padded = grid.resized(padded_shape(grid.shape, PADDING))
        self._box = tuple(slice(0, n) for n in grid.shape)
        self._shape = padded.shape
        self._dipole = dipole_kernel(padded)
        self._spacing = padded.voxel_size_mm
        self._symbol = _squared_symbol(padded)
        self._counted = _parts_of_inner_product(padded.shape)
        self._weight_of_variation = 1.0 / (LAPLACE_SCALE * period_hz)
        self._smoothing = SMOOTHING * period_hz
        self._first_step = 0.1 * period_hz
        self.susceptibility_hz = np.zeros(self._shape, np.float32)
        self._field: NDArray = np.zeros(self._shape, np.float32)  # of this susceptibility
        self._offset = 0.0

    def refine(
        self, field_hz: NDArray[np.floating], deviation_hz: NDArray[np.floating], outer: int
    ) -> NDArray[np.float64]:
        """Do some reweightings, starting from where the last call ended.

        Parameters
        ----------
        field_hz
            (nx, ny, nz) field in the box.
        deviation_hz
            (nx, ny, nz) its standard deviation; infinite where it is not known.
        outer
            Number of reweightings.

        Returns
        -------
        ndarray
            (nx, ny, nz) the field of the fit.
        """
        known = np.isfinite(deviation_hz)
        variance = np.where(known, deviation_hz, 1.0) ** 2
        padded = np.zeros(self._shape, np.float32)
        padded[self._box] = np.where(known, field_hz, 0)
        begun = bool(self.susceptibility_hz.any())
        for _ in range(outer):
            predicted = self._field[self._box]
            residual = field_hz - predicted - self._offset
            weight = np.where(known, 1.0 / (variance + residual**2 if begun else variance), 0.0)
            total = float(weight.sum())
            self._offset = float((weight * np.where(known, field_hz - predicted, 0)).sum()) / total
            full = np.zeros(self._shape, np.float32)
            full[self._box] = weight
            self._descend(padded, full, begun)
            begun = True
        return self._field[self._box] + self._offset

    def _descend(self, field: NDArray[np.float32], weight: NDArray[np.float32], begun: bool) -> None:
        """Preconditioned conjugate gradient on the quadratic of the present weights.

        The gradient stays in k-space, where preconditioner and dipole are products: an iteration takes two transforms
        there and two back.
        """
        from qsm_recon.backend.kernels.laplace import weighted_laplacian

        steps = forward_difference(self.susceptibility_hz, self._spacing)
        size = np.hypot(steps, self._smoothing) if begun else np.full_like(steps, self._first_step)
        curvature = (self._weight_of_variation / size).astype(np.float32)
        total, mean = float(weight.sum(dtype=np.float64)), float(weight.mean(dtype=np.float64))
        inverse = 1.0 / (mean * self._dipole**2 + float(curvature.mean()) * self._symbol + 1e-6 * mean)
        squared = np.square(self._spacing, dtype=np.float64).astype(np.float32)
        curvature /= squared[:, None, None, None]
        variation = np.empty(self._shape, np.float32)

        def weighted(image: NDArray) -> NDArray:
            image = weight * image
            return image - weight * np.float32(image.sum(dtype=np.float64) / total)  # whatever the constant is

        def hessian(image: NDArray, image_field: NDArray) -> tuple[NDArray[np.complex64], float]:
            """Its product with an image, in k-space, and the inner product of both."""
            fitted = weighted(image_field)
            bend = weighted_laplacian(image, curvature, variation) + float(np.vdot(image_field, fitted))
            return self._dipole * self._spectrum(fitted) + self._spectrum(variation), bend

        weighted_laplacian(self.susceptibility_hz, curvature, variation)
        gradient = self._dipole * self._spectrum(weighted(field - self._field)) - self._spectrum(variation)
        direction = direction_field = np.zeros(self._shape, np.float32)
        product = first = before = self._inner(gradient, inverse * gradient)
        for _ in range(CG_ITERATIONS):
            if product <= CG_TOLERANCE * first or product <= 0:
                break
            descended, again = inverse * gradient, np.float32(product / before)
            direction_field = self._image(descended * self._dipole) + again * direction_field
            direction = self._image(descended) + again * direction
            image, bend = hessian(direction, direction_field)
            length = np.float32(product / bend)
            self.susceptibility_hz += length * direction
            self._field += length * direction_field
            gradient -= length * image
            before, product = product, self._inner(gradient, inverse * gradient)

    def _inner(self, one: NDArray[np.complex64], other: NDArray[np.complex64]) -> float:
        """Inner product of two images given by their spectra."""
        return float(np.vdot(one, self._counted * other).real)

    def _spectrum(self, image: NDArray[np.float32]) -> NDArray[np.complex64]:
        import scipy.fft

        from qsm_recon.backend.threads import thread_count

        return np.asarray(scipy.fft.rfftn(image, workers=thread_count()))

    def _image(self, spectrum: NDArray[np.complex64]) -> NDArray[np.float32]:
        """The image of a spectrum, which is overwritten."""
        import scipy.fft

        from qsm_recon.backend.threads import thread_count

        return np.asarray(scipy.fft.irfftn(spectrum, self._shape, workers=thread_count(), overwrite_x=True))


def _parts_of_inner_product(shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """What each frequency of the half-spectrum counts in an inner product of images: (nz // 2 + 1,)."""
    counted = np.full(shape[2] // 2 + 1, 2.0 / np.prod(shape), np.float32)
    counted[0] /= 2
    if shape[2] % 2 == 0:
        counted[-1] /= 2
    return counted


def _squared_symbol(grid: Grid) -> NDArray[np.float32]:
    """|E|² of the forward differences, summed over the axes, on the half-spectrum."""
    from qsm_recon.operators.gradient import squared_difference_symbol

    x, y, z = (squared_difference_symbol(n, h) for n, h in zip(grid.shape, grid.voxel_size_mm, strict=True))
    half = grid.shape[2] // 2 + 1
    return (x[:, None, None] + y[None, :, None] + z[None, None, :half]).astype(np.float32)
