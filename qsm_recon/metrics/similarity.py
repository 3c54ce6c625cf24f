"""Voxelwise similarity of a susceptibility map and the truth: SSIM, XSIM, HFEN, CC, MI, MAD and GXE.

Each metric comes as ``masked`` (the default): both maps are set to zero outside the mask and the result is taken
over the mask, so that nothing outside it counts.  ``fansi`` follows the MATLAB toolbox FANSI for comparison with
numbers made by it: whole arrays, and its omissions.  ``community`` follows the QSM-CI scorer where that has the
metric.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import DataError, ParameterError, did_you_mean
from qsm_recon.metrics import windows
from qsm_recon.metrics.inputs import two_maps
from qsm_recon.metrics.rc2 import NEGLIGIBLE, centred

Reference = Literal["masked", "fansi"]
WindowedReference = Literal["masked", "fansi", "community"]

XSIM_C1 = 0.01**2  # ppm², K₁ = 0.01 and dynamic range 1 ppm
XSIM_C2 = 0.001**2  # ppm², K₂ = 0.001


def ssim(
    susceptibility: NDArray, truth: NDArray, mask: NDArray | None = None, *, data_range: float | None = None
) -> float:
    """Structural similarity with a Gaussian window of 7³ voxels (σ = 1.5), averaged over the mask; 1 is perfect.

    Parameters
    ----------
    susceptibility, truth
        Maps in ppm, of one shape.
    mask
        Region of the evaluation; the whole image by default.
    data_range
        Dynamic range L in ppm of the constants (0.01 L)² and (0.03 L)²; by default that of the truth in the mask.
        A calcification of some ppm makes them large, and the metric blind to small errors: see :func:`xsim`.

    Raises
    ------
    DataError
        If the mask is empty, or the truth is constant in it and no range is given.

    References
    ----------
    Wang Z, Bovik AC, Sheikh HR, Simoncelli EP. Image quality assessment: from error visibility to structural
    similarity. IEEE Trans Image Process 2004;13:600-612. doi:10.1109/TIP.2003.819861
    """
    r, t, region = _masked(susceptibility, truth, mask)
    return ssim_from_moments(windows.gaussian_moments(r, t), t, region, data_range)


def ssim_from_moments(
    moments: windows.LocalMoments, truth: NDArray, mask: NDArray, data_range: float | None = None
) -> float:
    """SSIM from local moments that are at hand already; see :func:`ssim`."""
    span = float(np.ptp(truth[mask])) if data_range is None else float(data_range)
    if not span > 0:
        raise DataError("the truth is constant in the mask, so that SSIM has no dynamic range; give one")
    return float(windows.structural_index(moments, (0.01 * span) ** 2, (0.03 * span) ** 2)[mask].mean())


def xsim(
    susceptibility: NDArray, truth: NDArray, mask: NDArray | None = None, *, reference: WindowedReference = "masked"
) -> float:
    """Structural similarity tuned to susceptibility maps; 1 is perfect.

    SSIM with the constants C₁ = 10⁻⁴ and C₂ = 10⁻⁶ ppm².

    Parameters
    ----------
    susceptibility, truth
        Maps in ppm, of one shape.
    mask
        Region of the evaluation; the whole image by default.
    reference
        ``masked``: the published Gaussian window of 7³ voxels, σ = 1.5.  ``fansi``: the same on the maps as they
        are, averaged over the mask or, without one, where the truth is not zero.  ``community``: a uniform window
        of 5³ voxels cut off at the border; its values are not comparable with the others.

    Raises
    ------
    DataError
        If the mask is empty.
    ParameterError
        If the reference is unknown.

    References
    ----------
    Milovic C, Tejos C, Silva J, Shmueli K, Irarrazaval P. XSIM: a structural similarity index measure optimized
    for MRI QSM. Magn Reson Med 2025. doi:10.1002/mrm.30271
    """
    _require(reference, get_args(WindowedReference))
    if reference == "fansi":
        r, t, region = two_maps(susceptibility, truth, mask)
        region = t != 0 if mask is None else region
        if not region.any():
            raise DataError("the region of the evaluation is empty")
        return xsim_from_moments(windows.gaussian_moments(r, t), region)
    if reference == "community":
        r, t, region = _masked(susceptibility, truth, mask, margin=windows.UNIFORM_WIDTH // 2)
        return xsim_from_moments(windows.uniform_moments(r, t), region)
    r, t, region = _masked(susceptibility, truth, mask)
    return xsim_from_moments(windows.gaussian_moments(r, t), region)


def xsim_from_moments(moments: windows.LocalMoments, mask: NDArray) -> float:
    """XSIM from local moments that are at hand already; see :func:`xsim`."""
    return float(windows.structural_index(moments, XSIM_C1, XSIM_C2)[mask].mean())


def hfen(
    susceptibility: NDArray, truth: NDArray, mask: NDArray | None = None, *, reference: WindowedReference = "masked"
) -> float:
    """High-frequency error norm in per cent: 100 ‖LoG(r − t)‖ / ‖LoG t‖, LoG the Laplacian of Gaussian (σ = 1.5).

    Parameters
    ----------
    susceptibility, truth
        Maps in ppm, of one shape.
    mask
        Region of the evaluation; the whole image by default.
    reference
        ``masked``: kernel of 15³ voxels with zero sum, norms over the mask.  ``fansi``: the same, the norms over
        the whole image, so that the edge of the mask counts.  ``community``: derivatives of a Gaussian cut off at
        8 voxels, images mirrored at the border, norms over the mask.

    Raises
    ------
    DataError
        If the mask is empty or the truth has no high frequencies in it.
    ParameterError
        If the reference is unknown.

    References
    ----------
    Ravishankar S, Bresler Y. MR image reconstruction from highly undersampled k-space data by dictionary learning.
    IEEE Trans Med Imaging 2011;30:1028-1041. doi:10.1109/TMI.2010.2090538
    """
    _require(reference, get_args(WindowedReference))
    if reference == "community":
        from scipy.ndimage import gaussian_laplace

        r, t, region = _masked(susceptibility, truth, mask, margin=8)
        error, detail = (gaussian_laplace(image, 1.5, truncate=5.0)[region] for image in (r - t, t))
    elif reference == "fansi":
        r, t, _ = _masked(susceptibility, truth, mask, margin=windows.LAPLACIAN_HALF_WIDTH)
        error, detail = (windows.laplacian_of_gaussian(image).ravel() for image in (r - t, t))
    else:
        r, t, region = _masked(susceptibility, truth, mask)
        error, detail = (windows.laplacian_of_gaussian(image)[region] for image in (r - t, t))
    return _relative(float(np.linalg.norm(error)), float(np.linalg.norm(detail)))


def cc(
    susceptibility: NDArray, truth: NDArray, mask: NDArray | None = None, *, reference: Reference = "masked"
) -> float:
    """Pearson correlation over the mask (``fansi``: over the whole arrays, zeros outside the mask included).

    Raises
    ------
    DataError
        If a map is constant.
    ParameterError
        If the reference is unknown.
    """
    r, t = _vectors(susceptibility, truth, mask, reference)
    r, t = centred(r), centred(t)
    scale = float(np.linalg.norm(r)) * float(np.linalg.norm(t))
    if scale <= NEGLIGIBLE:
        raise DataError("one of the maps is constant, so that the correlation is undefined")
    return float(r @ t) / scale


def mi(
    susceptibility: NDArray, truth: NDArray, mask: NDArray | None = None, *, reference: Reference = "masked"
) -> float:
    """Mutual information in nats from the joint histogram, less its first-order bias.

    Each map has ⌈n^⅓⌉ cells of equal width from its lowest to its highest value, for n voxels of the mask
    (``fansi``: of the whole arrays).  A perfect map scores the entropy of the truth, not 1.

    Raises
    ------
    DataError
        If a map is constant.
    ParameterError
        If the reference is unknown.

    References
    ----------
    Moddemeijer R. On estimation of entropy and mutual information of continuous distributions.
    Signal Processing 1989;16:233-248.
    """
    r, t = _vectors(susceptibility, truth, mask, reference)
    cells = int(np.ceil(r.size ** (1 / 3)))
    joint = np.bincount(_cell(t, cells) * cells + _cell(r, cells), minlength=cells**2).reshape(cells, cells)
    probability = joint / joint.sum()
    independent = probability.sum(axis=1, keepdims=True) * probability.sum(axis=0, keepdims=True)
    filled = joint > 0
    information = float(np.sum(probability[filled] * np.log(probability[filled] / independent[filled])))
    return information - (cells - 1) ** 2 / (2 * r.size)


def mad(
    susceptibility: NDArray, truth: NDArray, mask: NDArray | None = None, *, reference: Reference = "masked"
) -> float:
    """Absolute difference in per cent, 100 Σ|r − t| / Σ|t|, over the mask (``fansi``: over the whole arrays).

    The maps are not demeaned: bring both to the same reference first.

    Raises
    ------
    DataError
        If the truth is zero.
    ParameterError
        If the reference is unknown.
    """
    r, t = _vectors(susceptibility, truth, mask, reference)
    return _relative(float(np.abs(r - t).sum()), float(np.abs(t).sum()))


def gxe(
    susceptibility: NDArray, truth: NDArray, mask: NDArray | None = None, *, reference: Reference = "masked"
) -> float:
    """Gradient error in per cent, 100 ‖∇(r − t)‖ / ‖∇t‖, with differences of neighbouring voxels.

    Parameters
    ----------
    susceptibility, truth
        Maps in ppm, of one shape.
    mask
        Region of the evaluation; the whole image by default.
    reference
        ``masked``: the differences along all three axes of pairs of voxels that both lie in the mask.  ``fansi``:
        circular differences along the first two axes of the whole arrays.

    Raises
    ------
    DataError
        If the mask is empty or the truth has no gradient in it.
    ParameterError
        If the reference is unknown.
    """
    _require(reference, get_args(Reference))
    if reference == "fansi":
        r, t, _ = two_maps(susceptibility, truth, mask)
        error, detail = (sum(_square_sum(image - np.roll(image, -1, axis)) for axis in (0, 1)) for image in (r - t, t))
    else:
        r, t, region = _masked(susceptibility, truth, mask)
        error, detail = (
            sum(_square_sum(_differences_inside(image, region, axis)) for axis in range(image.ndim))
            for image in (r - t, t)
        )
    return _relative(error**0.5, detail**0.5)


def _differences_inside(image: NDArray[np.floating], region: NDArray[np.bool_], axis: int) -> NDArray[np.floating]:
    """Differences of neighbours along an axis that both lie in the region."""
    along, inside = np.moveaxis(image, axis, 0), np.moveaxis(region, axis, 0)
    return np.diff(along, axis=0)[inside[:-1] & inside[1:]]


def _square_sum(values: NDArray[np.floating]) -> float:
    return float(np.vdot(values, values))


def _cell(values: NDArray[np.floating], cells: int) -> NDArray[np.intp]:
    """Histogram cell of each value; the outer cells reach half a mean spacing beyond the extreme values."""
    lowest, highest = float(values.min()), float(values.max())
    spacing = (highest - lowest) / max(values.size - 1, 1)
    if not np.isfinite(spacing):
        raise DataError("one of the maps is not finite, so that their mutual information is undefined")
    if not spacing > 0:
        raise DataError("one of the maps is constant, so that their mutual information is undefined")
    lower, upper = lowest - spacing / 2, highest + spacing / 2
    return np.clip(((values - lower) / (upper - lower) * cells).astype(np.intp), 0, cells - 1)


def _require(reference: str, known: tuple[str, ...]) -> None:
    if reference not in known:
        raise ParameterError(f"reference: unknown definition '{reference}'{did_you_mean(reference, known)}")


def _vectors(
    susceptibility: NDArray, truth: NDArray, mask: NDArray | None, reference: str
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Both maps as vectors over the mask, or over the whole arrays for the ``fansi`` definition."""
    _require(reference, get_args(Reference))
    r, t, region = two_maps(susceptibility, truth, mask)
    return (r.ravel(), t.ravel()) if reference == "fansi" else (r[region], t[region])


def _masked(
    susceptibility: NDArray, truth: NDArray, mask: NDArray | None, *, margin: int = 0
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_]]:
    """Both maps in the mask's bounding box, zero outside the mask.

    A filter that takes zeros beyond the border gives inside the mask what it gives on the whole image, without any
    margin; another needs its half width as a margin.
    """
    recon, true, region = two_maps(susceptibility, truth, mask)
    box = windows.bounding_box(region, margin)
    r, t = (np.where(region[box], image[box], 0.0) for image in (recon, true))
    return r, t, region[box]


def _relative(error: float, norm: float) -> float:
    if norm <= NEGLIGIBLE:
        raise DataError("the truth is constant in the region of the evaluation, so that no error is relative to it")
    return 100.0 * error / norm
