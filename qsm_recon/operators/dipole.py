"""The dipole kernel and the forward operator: field = dipole kernel ∗ susceptibility."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from qsm_recon.backend.arrays import host
from qsm_recon.backend.device import CPU
from qsm_recon.errors import DataError, ParameterError, did_you_mean
from qsm_recon.operators.grid import Grid, require_grid
from qsm_recon.operators.padding import padded_shape
from qsm_recon.values import floating_image, precision

KernelKind = Literal["continuous", "discrete", "green"]
ALL = slice(None)
ROUNDING = 1e-14
"""Below this a sample of the kernel is zero: rounding leaves 1e-15 at most, and the smallest sample that is not zero
lies above 1e-7 on grids of up to 96 equal voxels along each axis."""


def dipole_kernel(grid: Grid, kind: str = "continuous", dtype: DTypeLike = np.float32) -> NDArray:
    """Fourier transform of the unit dipole field on the half-spectrum of a real transform.

    Parameters
    ----------
    grid
        Shape, voxel size (mm) and field direction.
    kind
        ``"continuous"``: 1/3 - (k·b)²/|k|² (Salomir et al., Concepts Magn Reson B 2003, doi 10.1002/cmr.b.10083;
        Marques and Bowtell, Concepts Magn Reson B 2005, doi 10.1002/cmr.b.20034).
        ``"discrete"``: the same with forward-difference symbols in place of k (Milovic et al., MRM 2019,
        doi 10.1002/mrm.27483, use such kernels).
        ``"green"``: transform of the spatial dipole (3cos²θ - 1)/(4πr³) integrated over a voxel, cut off at half
        the grid.
    dtype
        float32 or float64.

    Returns
    -------
    ndarray
        (nx, ny, nz // 2 + 1) real, dimensionless, in unshifted FFT order; zero at zero frequency.

    Raises
    ------
    ParameterError
        If the kind is unknown.

    Notes
    -----
    The samples on a Nyquist plane are averages over both signs of the Nyquist frequency.  Without this an oblique
    kernel on an even grid is not the transform of a real function: real and complex transforms then disagree, and
    the square of the kernel is not the operator applied twice.

    Samples on the magic cone are zero, not what rounding leaves of 1/3 - 1/3: methods that go by the sign of the
    kernel would take from there, at full strength, a sign that depends on the order of the axes.
    """
    require_grid(grid)
    if kind not in get_args(KernelKind):
        raise ParameterError(f"dipole kernel '{kind}' is unknown{did_you_mean(kind, get_args(KernelKind))}")
    dtype = precision(dtype)
    if kind == "green":
        return _green_kernel(grid).astype(dtype)
    planes = _planes_of_continuous(grid) if kind == "continuous" else _planes_of_discrete(grid)
    kernel = np.empty((*grid.shape[:2], grid.shape[2] // 2 + 1), dtype)
    for i, plane in enumerate(planes):  # one by one: double precision throughout, little memory
        plane[np.abs(plane) < ROUNDING] = 0
        kernel[i] = plane
    kernel[0, 0, 0] = 0
    return kernel


def _frequencies(grid: Grid, nyquist_sign: int) -> tuple[NDArray, NDArray, NDArray]:
    """Cycles per sample: (nx,), (ny, 1) and (nz // 2 + 1,)."""
    axes = []
    for axis, n in enumerate(grid.shape):
        cycles = np.fft.fftfreq(n) if axis < 2 else np.fft.rfftfreq(n)
        if n % 2 == 0:
            cycles[n // 2] = nyquist_sign * 0.5
        axes.append(cycles)
    x, y, z = axes
    return x, y[:, None], z


class _Continuous:
    """1/3 - (k·b)²/|k|² plane by plane of x; what does not depend on x is computed once.

    Parameters
    ----------
    grid
        Geometry.
    sign
        Of the Nyquist frequency.
    """

    def __init__(self, grid: Grid, sign: int) -> None:
        k = [c / d for c, d in zip(_frequencies(grid, sign), grid.voxel_size_mm, strict=True)]
        bx, by, bz = grid.b0_direction
        self._along_x, self._squared_x = bx * k[0], k[0] * k[0]
        self._along, self._squared = by * k[1] + bz * k[2], k[1] * k[1] + k[2] * k[2]

    def part(self, i: int, rows: int | slice = ALL, columns: int | slice = ALL) -> NDArray:
        """Rows and columns of plane ``i``; 1/3 at zero frequency."""
        along = self._along[rows, columns] + self._along_x[i]
        squared = self._squared[rows, columns] + self._squared_x[i]
        along *= along
        along /= np.where(squared == 0, 1.0, squared) if i == 0 else squared
        return 1.0 / 3.0 - along


def _planes_of_continuous(grid: Grid) -> Iterator[NDArray]:
    minus, plus = (_Continuous(grid, sign) for sign in (-1, 1))
    # Signs matter to what the field's direction mixes, and where an even axis has its Nyquist frequency.
    oblique = np.count_nonzero(grid.b0_direction) > 1
    nx, ny, nz = grid.shape
    edges: list[tuple[int | slice, int | slice]] = [(ny // 2, ALL)] if oblique and ny % 2 == 0 else []
    edges += [(ALL, nz // 2)] if oblique and nz % 2 == 0 else []
    for i in range(nx):
        plane = minus.part(i)
        for rows, columns in [(ALL, ALL)] if oblique and 2 * i == nx else edges:
            plane[rows, columns] = 0.5 * (minus.part(i, rows, columns) + plus.part(i, rows, columns))
        yield plane


def _planes_of_discrete(grid: Grid) -> Iterator[NDArray]:
    x, y, z = (
        (1.0 - np.exp(2j * np.pi * c)) / d for c, d in zip(_frequencies(grid, -1), grid.voxel_size_mm, strict=True)
    )
    bx, by, bz = grid.b0_direction
    along, squared = by * y + bz * z, np.abs(y) ** 2 + np.abs(z) ** 2
    for symbol in x:
        total = squared + np.abs(symbol) ** 2
        yield 1.0 / 3.0 - np.abs(along + bx * symbol) ** 2 / np.where(total == 0, 1.0, total)


def _green_kernel(grid: Grid) -> NDArray:
    import scipy.fft

    from qsm_recon.backend.threads import thread_count

    # The real part is the transform of the even part: the sampled lattice is not symmetric at half the period.
    spectrum = scipy.fft.rfftn(_voxel_field(grid), workers=thread_count()).real
    spectrum[0, 0, 0] = 0.0
    return spectrum


def _voxel_field(grid: Grid) -> NDArray:
    """Field along B0 at every voxel centre due to one voxel of unit susceptibility at the origin, in FFT order.

    The dipole field integrated over a box is a sum of arctangents and logarithms over the eight corners; summing
    over corners is differencing the same function on the lattice of corners along each axis.
    """
    b = grid.b0_direction
    corners = [(np.arange(n + 1) - n // 2 - 0.5) * d for n, d in zip(grid.shape, grid.voxel_size_mm, strict=True)]
    r = np.ix_(*corners)
    distance = np.sqrt(sum(ri * ri for ri in r))
    antiderivative = np.zeros_like(distance)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        if b[i] != 0:
            antiderivative -= b[i] ** 2 * np.arctan(r[j] * r[k] / (r[i] * distance))
        if b[i] * b[j] != 0:
            antiderivative += 2 * b[i] * b[j] * np.arcsinh(r[k] / np.hypot(r[i], r[j]))
    for axis in range(3):
        antiderivative = np.diff(antiderivative, axis=axis)
    field = np.fft.ifftshift(antiderivative) / (4.0 * np.pi)
    field[0, 0, 0] += 1.0 / 3.0  # the sphere of Lorentz
    return field


class DipoleOperator:
    """The forward operator χ ↦ D χ on a grid, computed on a zero-padded grid of fast sizes.

    Parameters
    ----------
    grid
        Geometry of the images.
    kind
        Dipole kernel; see :func:`dipole_kernel`.
    dtype
        Precision of the arithmetic, float32 or float64.
    padding
        Voxels of zeros kept, at least, between the image and its periodic copy along each axis.
    device
        Where its buffers are; see :func:`qsm_recon.backend.device.set_device`.

    Notes
    -----
    The operator is real and symmetric: it is its own adjoint.
    """

    def __init__(
        self,
        grid: Grid,
        kind: str = "continuous",
        dtype: DTypeLike = np.float32,
        padding: int | tuple[int, int, int] = 0,
        device: str = CPU,
    ) -> None:
        from qsm_recon.backend.transforms import fourier_transform

        require_grid(grid)
        self.grid = grid
        self.padded_grid = grid.resized(padded_shape(grid.shape, padding))
        self.transform = fourier_transform(self.padded_grid.shape, precision(dtype).name, device)
        self.kernel = self.transform.empty_half_image()
        values = self.transform.array(dipole_kernel(self.padded_grid, kind, dtype))
        self.transform.spectrum_view(self.kernel)[...] = values

    def forward(self, susceptibility: NDArray) -> NDArray:
        """Field of a susceptibility map, in the unit of the map.

        Parameters
        ----------
        susceptibility
            (nx, ny, nz) map of the grid's shape; what a masked array hides counts as NaN, as does the field of it.

        Returns
        -------
        ndarray
            (nx, ny, nz) field.

        Raises
        ------
        DataError
            If the shape is not that of the grid, or it does not hold real numbers.
        """
        image = floating_image("susceptibility", susceptibility)
        if image.shape != self.grid.shape:
            raise DataError(f"susceptibility: expected shape {self.grid.shape}, found {image.shape}")
        return self._field_of(self.transform.load_image(image))

    adjoint = forward

    def forward_padded(self, susceptibility: NDArray) -> NDArray:
        """Field in the grid, (nx, ny, nz), of a map on the whole padded grid, or of an engine's image buffer."""
        return self._field_of(self.transform.load_image(susceptibility))

    def _field_of(self, image: NDArray) -> NDArray:
        """Field of an image buffer, which is overwritten."""
        self._convolve(image)
        return self.crop(image)

    def _convolve(self, image: NDArray) -> None:
        """Replace an image buffer by its field."""
        transform, kernel = self.transform, self.kernel
        spectrum = transform.forward(image, transform.empty_spectrum())

        def multiply(_slab: int, _start: int, a: int, b: int) -> None:
            spectrum[a:b] *= kernel[a:b] / transform.n_voxels

        transform.for_planes(multiply)
        transform.inverse(spectrum, image)

    def crop(self, image: NDArray) -> NDArray:
        """Cut the grid's own voxels out of a padded image buffer; a copy, numpy's wherever the buffer is."""
        nx, ny, nz = self.grid.shape
        return host(image[:nx, :ny, :nz]).copy()
