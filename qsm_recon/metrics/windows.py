"""Local windows of the structural metrics: separable filters over the mask's bounding box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.threads import run_tasks
from qsm_recon.errors import DataError

GAUSSIAN_SIGMA = 1.5  # voxels
GAUSSIAN_HALF_WIDTH = 3  # a window of 7 × 7 × 7 voxels
UNIFORM_WIDTH = 5
LAPLACIAN_SIGMA = 1.5  # voxels
LAPLACIAN_HALF_WIDTH = 7  # a kernel of 15 × 15 × 15 voxels


@dataclass(frozen=True)
class LocalMoments:
    """Local means, variances and covariance of two images, each of the images' shape."""

    mean_1: NDArray[np.floating]
    mean_2: NDArray[np.floating]
    variance_1: NDArray[np.floating]
    variance_2: NDArray[np.floating]
    covariance: NDArray[np.floating]


def bounding_box(mask: NDArray[np.bool_], margin: int = 0) -> tuple[slice, ...]:
    """Smallest box that holds the mask, grown by a margin and clipped at the image border.

    Raises
    ------
    DataError
        If the mask is empty.
    """
    box = []
    for axis in range(mask.ndim):
        occupied = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if occupied.size == 0:
            raise DataError("the mask is empty")
        box.append(slice(max(int(occupied[0]) - margin, 0), min(int(occupied[-1]) + 1 + margin, mask.shape[axis])))
    return tuple(box)


def gaussian_moments(first: NDArray[np.floating], second: NDArray[np.floating]) -> LocalMoments:
    """Local moments in a Gaussian window of 7³ voxels with zeros beyond the border."""
    from scipy.ndimage import correlate1d

    offsets = np.arange(-GAUSSIAN_HALF_WIDTH, GAUSSIAN_HALF_WIDTH + 1)
    weights = np.exp(-(offsets**2) / (2 * GAUSSIAN_SIGMA**2))
    weights /= weights.sum()

    def average(image: NDArray[np.floating]) -> NDArray[np.floating]:
        for axis in range(image.ndim):
            image = correlate1d(image, weights, axis=axis, mode="constant")
        return image

    means = run_tasks(
        [lambda a=a, b=b: average(a if b is None else a * b) for a, b in _factors(first, second)]  # type: ignore[misc]
    )
    return _central(*means)


def uniform_moments(first: NDArray[np.floating], second: NDArray[np.floating]) -> LocalMoments:
    """Local moments in a uniform window of 5³ voxels, cut off at the border."""
    from scipy.ndimage import uniform_filter

    def average(image: NDArray[np.floating]) -> NDArray[np.floating]:
        return uniform_filter(image, UNIFORM_WIDTH, mode="constant")

    inside = average(np.ones_like(first))
    means = run_tasks(
        [lambda a=a, b=b: average(a if b is None else a * b) / inside for a, b in _factors(first, second)]  # type: ignore[misc]
    )
    return _central(*means)


def laplacian_of_gaussian(image: NDArray[np.floating]) -> NDArray[np.floating]:
    """Laplacian of Gaussian with a kernel of 15³ voxels and zero sum, zeros beyond the border.

    The kernel (|x|²/σ⁴ − 3/σ²) g(x), g a Gaussian of unit sum, less its mean, is a sum of four separable ones.
    """
    from scipy.ndimage import correlate1d, uniform_filter

    offsets = np.arange(-LAPLACIAN_HALF_WIDTH, LAPLACIAN_HALF_WIDTH + 1)
    smooth = np.exp(-(offsets**2) / (2 * LAPLACIAN_SIGMA**2))
    smooth /= smooth.sum()
    curved = (offsets**2 / LAPLACIAN_SIGMA**4 - 1 / LAPLACIAN_SIGMA**2) * smooth
    kernel_sum = image.ndim * curved.sum()

    smoothed, bent = image, np.zeros_like(image)
    for axis in range(image.ndim):
        bent = correlate1d(bent, smooth, axis=axis, mode="constant")
        bent += correlate1d(smoothed, curved, axis=axis, mode="constant")
        smoothed = correlate1d(smoothed, smooth, axis=axis, mode="constant")
    return bent - kernel_sum * uniform_filter(image, 2 * LAPLACIAN_HALF_WIDTH + 1, mode="constant")


def structural_index(moments: LocalMoments, c1: float, c2: float) -> NDArray[np.floating]:
    """Map of (2 μ₁μ₂ + C₁)(2 σ₁₂ + C₂) / ((μ₁² + μ₂² + C₁)(σ₁² + σ₂² + C₂))."""
    m = moments
    numerator = (2 * m.mean_1 * m.mean_2 + c1) * (2 * m.covariance + c2)
    return numerator / ((m.mean_1**2 + m.mean_2**2 + c1) * (m.variance_1 + m.variance_2 + c2))


def _factors(
    first: NDArray[np.floating], second: NDArray[np.floating]
) -> list[tuple[NDArray[np.floating], NDArray[np.floating] | None]]:
    """List the five images whose local averages make the moments, each as a product of one or two."""
    return [(first, None), (second, None), (first, first), (second, second), (first, second)]


def _central(
    mean_1: NDArray[np.floating],
    mean_2: NDArray[np.floating],
    square_1: NDArray[np.floating],
    square_2: NDArray[np.floating],
    product: NDArray[np.floating],
) -> LocalMoments:
    return LocalMoments(mean_1, mean_2, square_1 - mean_1**2, square_2 - mean_2**2, product - mean_1 * mean_2)
