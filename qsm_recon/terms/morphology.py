"""Edge-weighted total variation for the Gauss-Newton engine, and the edge mask that a magnitude image gives."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.arrays import double, host, log_sum
from qsm_recon.backend.fft import FourierTransform
from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.operators.gradient import Spacing

Boundary = Literal["neumann", "periodic"]
FRACTIONS_OF = ("components", "voxels")


def neumann_difference(image: NDArray, spacing: Spacing) -> NDArray:
    """Forward differences, zero on the last voxel of each axis; (nx, ny, nz) to (3, nx, ny, nz)."""
    parts = [np.diff(image, axis=axis, append=image.take([-1], axis)) / h for axis, h in enumerate(spacing)]
    return np.stack(parts)


def edge_mask(
    magnitude: NDArray,
    mask: NDArray[np.bool_],
    spacing: Spacing,
    fraction: float = 0.3,
    fraction_of: str = "components",
) -> NDArray[np.bool_]:
    """Mark where the susceptibility is smoothed: False on the edges of the magnitude image.

    Parameters
    ----------
    magnitude
        (nx, ny, nz) magnitude image; it counts inside the mask only.
    mask
        (nx, ny, nz) region of interest.
    spacing
        Voxel size in mm.
    fraction
        Share of edges, from 0 (none).
    fraction_of
        ``"components"``: of the three components of all mask voxels, found exactly.  ``"voxels"``: the convention
        of the MEDI toolbox, whose 0.9 counts components but divides by the number of voxels (so it is 0.3 of the
        components), and finds the threshold by steps of 5 %.

    Returns
    -------
    ndarray
        (3, nx, ny, nz) True where the component of the gradient is regularised.

    Raises
    ------
    ParameterError
        If ``fraction_of`` is unknown.

    References
    ----------
    Liu et al., NeuroImage 59:2560-2568 (2012), doi 10.1016/j.neuroimage.2011.08.082.
    """
    if fraction_of not in FRACTIONS_OF:
        raise ParameterError(f"edge_fraction_of: '{fraction_of}' is unknown{did_you_mean(fraction_of, FRACTIONS_OF)}")
    masked = np.where(mask, magnitude, magnitude.dtype.type(0))
    slope = np.abs(neumann_difference(masked, spacing))
    if fraction <= 0:
        return np.ones(slope.shape, bool)
    if fraction_of == "voxels":
        return slope <= _stepped_threshold(slope, float(np.abs(masked).max()), fraction * mask.sum())
    # Outside the mask there are slopes on the last voxels before it only; count them as the toolbox does.
    count = min(round(fraction * 3 * mask.sum()), slope.size - 1)
    steep = slope[slope > 0]  # most are zero, and searching among equal numbers takes many times as long
    if count >= steep.size:
        return slope <= 0
    return slope <= np.partition(steep, steep.size - 1 - count)[steep.size - 1 - count]


def _stepped_threshold(slope: NDArray, largest: float, count: float) -> float:
    threshold = 0.01 * largest
    steep = slope.ravel()[slope.ravel() > 0]
    above = int((steep > threshold).sum())
    if above > count:
        while (steep > threshold).sum() > count:
            threshold *= 1.05
    else:
        while (steep > threshold).sum() < min(count, steep.size):
            threshold *= 0.95
    return threshold


def boundary_around(
    shape: tuple[int, int, int], padded_shape: tuple[int, int, int]
) -> tuple[Boundary, Boundary, Boundary]:
    """How differences end on a padded grid, so that neither end of the image is unlike the other.

    Padding lies behind the image's last voxels only.  A cut at the end of the grid would leave the last voxels linked
    to the padding and the first ones not, and a mirrored image would get another map.  Where an axis has padding,
    differences go on across the end, which is empty; where it has none they end with the image.

    Parameters
    ----------
    shape, padded_shape
        Of the image and of the grid.
    """
    kinds: list[Boundary] = [
        "periodic" if padded > n else "neumann" for n, padded in zip(shape, padded_shape, strict=True)
    ]
    return (kinds[0], kinds[1], kinds[2])


class EdgeWeightedVariation:
    """alpha Σ (sqrt((M ∇χ)² + e²) - e), componentwise, with M the edge weights.

    Parameters
    ----------
    transform
        Of the padded grid.
    spacing
        Voxel size in mm.
    weight
        alpha, in the unit of χ times mm.
    smoothing
        e, in the unit of χ per mm: gradients well below it are smoothed quadratically.
    edges
        None, or (3, nx, ny, nz) weights M of the components; the padding has weight ``outside``.
    boundary
        ``"neumann"``: no difference across the end of the (padded) grid; ``"periodic"``: as the ADMM engine; or one of
        these for each axis, as :func:`boundary_around` gives it.
    outside
        Weight of the padding.
    """

    def __init__(
        self,
        transform: FourierTransform,
        spacing: Spacing,
        weight: float,
        smoothing: float,
        edges: NDArray | None = None,
        boundary: Boundary | tuple[Boundary, Boundary, Boundary] = "neumann",
        outside: float = 1.0,
    ) -> None:
        real = transform.dtype.type
        self._transform = transform
        self.weight = weight
        self.spacing = spacing
        self._smoothing = real(smoothing)
        hx, hy, hz = spacing
        self._inverse_spacing = (real(1.0 / hx), real(1.0 / hy), real(1.0 / hz))
        self._scales = (real(weight / hx**2), real(weight / hy**2), real(weight / hz**2))
        buffer_shape = (3, transform.shape[0], *transform.empty_image(1).shape[1:])
        self._edges = transform.zeros(buffer_shape)
        self.lagged = transform.zeros(buffer_shape)
        view = self._edges[..., : transform.shape[2]]
        view[...] = outside
        if edges is None:
            view[...] = 1
        else:
            nx, ny, nz = edges.shape[1:]
            view[:, :nx, :ny, :nz] = transform.array(edges)
        kinds = (boundary,) * 3 if isinstance(boundary, str) else boundary
        for axis, kind in enumerate(kinds):
            if kind == "neumann":
                view[axis].swapaxes(0, axis)[-1] = 0

    def relinearise(self, image: NDArray) -> float:
        """Take the lagged weights V from an image; returns the regularisation there, without alpha."""
        from qsm_recon.backend.kernels.morphology import lagged_weights

        sums = self._transform.for_planes(
            lambda _slab, _start, a, b: lagged_weights(
                a,
                b,
                image,
                self._edges,
                self._transform.shape[2],
                self._inverse_spacing,
                self._smoothing,
                self.lagged,
            )
        )
        return float(np.sum(sums))

    def apply(self, image: NDArray, first: int, last: int, out: NDArray) -> float:
        """Fill planes ``out`` with alpha ∇ᵀ V ∇ d; returns their share of alpha Σ V |∇d|²."""
        from qsm_recon.backend.kernels.morphology import weighted_laplacian

        return weighted_laplacian(first, last, image, self.lagged, self._transform.shape[2], self._scales, out)

    def typical_smoothness(self) -> float:
        """Weight alpha times the geometric mean of the lagged weights that are not zero."""
        sums, counts = 0.0, 0
        for plane in self.lagged[..., : self._transform.shape[2]].swapaxes(0, 1):
            positive = plane[plane > 0]
            sums += log_sum(positive)
            counts += len(positive)
        return self.weight * math.exp(sums / counts) if counts else 0.0


class NoVariation(EdgeWeightedVariation):
    """No regulariser, for systems that early stopping regularises; takes no memory."""

    weight = 0.0

    def __init__(self, spacing: Spacing) -> None:
        self.spacing = spacing

    def relinearise(self, image: NDArray) -> float:
        """See :class:`EdgeWeightedVariation`; 0."""
        return 0.0

    def apply(self, image: NDArray, first: int, last: int, out: NDArray) -> float:
        """See :class:`EdgeWeightedVariation`; fills with 0."""
        out[...] = 0
        return 0.0

    def typical_smoothness(self) -> float:
        """See :class:`EdgeWeightedVariation`; 0."""
        return 0.0


class UniformRegion:
    """½ beta Σ (χ - mean χ)² over a region, such as the cerebrospinal fluid that serves as zero reference.

    Parameters
    ----------
    transform
        Of the padded grid.
    region
        (nx, ny, nz) the region.
    weight
        beta, dimensionless.

    References
    ----------
    Liu et al., Magn Reson Med 79:2795-2803 (2018), doi 10.1002/mrm.26946.
    """

    def __init__(self, transform: FourierTransform, region: NDArray[np.bool_], weight: float) -> None:
        self._real = transform.dtype.type
        self._factor = self._real(weight)
        self._nz = transform.shape[2]
        self._region = transform.zeros(transform.empty_image().shape, np.uint8)
        nx, ny, nz = region.shape
        self._region[:nx, :ny, :nz] = transform.array(region)
        self._where = transform.array(np.flatnonzero(host(self._region)))
        self._mean = self._real(0)

    def prepare(self, image: NDArray) -> float:
        """Take the mean from an image; returns the term's value there."""
        values = double(image.reshape(-1)[self._where])
        self._mean = self._real(values.mean())
        return 0.5 * float(self._factor) * float(((values - values.mean()) ** 2).sum())

    def add(self, block: NDArray, image: NDArray, first: int) -> float:
        """Add beta (χ - mean) to planes; returns what that adds to the quadratic form."""
        from qsm_recon.backend.kernels.morphology import add_reference_term

        return add_reference_term(block, image, self._region, first, self._nz, self._mean, self._factor)
