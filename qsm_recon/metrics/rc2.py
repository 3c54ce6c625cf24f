"""The error metrics of the 2019 reconstruction challenge over the mask and its regions.

Label numbers are the challenge's: 1 caudate, 2 globus pallidus, 3 putamen, 4 red nucleus, 5 dentate nucleus,
6 substantia nigra and subthalamic nucleus, 7 thalamus, 8 white matter, 9 grey matter, 10 cerebrospinal fluid,
11 blood, 16 calcification.

References
----------
Bilgic B, Langkammer C, Marques JP, et al. QSM reconstruction challenge 2.0: design and report of results.
Magn Reson Med 2021;86:1241-1255. doi:10.1002/mrm.28754
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import DataError, ParameterError, did_you_mean
from qsm_recon.metrics.inputs import label_map, two_maps

Variant = Literal["rc2", "community"]
DetrendMethod = Literal["inverse", "lstsq", "rc2-as-run"]

DEEP_GREY_LABELS = (1, 2, 3, 4, 5, 6)
TISSUE_LABELS = (7, 8, 9)
BLOOD_LABEL = 11
CALCIFICATION_LABEL = 16

# below this a sum of squares is taken as zero, as in the community scorer
NEGLIGIBLE = 1e-30


def require_variant(variant: str) -> None:
    """Check the name of a definition.

    Raises
    ------
    ParameterError
        If it is unknown.
    """
    if variant not in get_args(Variant):
        raise ParameterError(f"variant: unknown definition '{variant}'{did_you_mean(variant, get_args(Variant))}")


def nrmse(susceptibility: NDArray, truth: NDArray, mask: NDArray) -> float:
    """Normalised root-mean-square error of the demeaned maps in per cent.

    100 ‖r − t‖ / ‖t‖, with r and t the reconstruction and the truth less their means over the mask.

    Parameters
    ----------
    susceptibility, truth
        Maps in ppm, of one shape.
    mask
        Region of the evaluation, of the same shape.

    Raises
    ------
    DataError
        If the mask is empty or not binary, the truth is constant in it, or shapes differ.
    """
    r, t, norm = _demeaned(susceptibility, truth, mask)
    return 100.0 * float(np.linalg.norm(r - t)) / norm


def dnrmse(susceptibility: NDArray, truth: NDArray, mask: NDArray, *, method: DetrendMethod = "inverse") -> float:
    """Detrended normalised root-mean-square error in per cent.

    With the demeaned maps r and t, the slope a = ⟨r, t⟩ / ⟨t, t⟩ of the reconstruction on the truth and their
    correlation ρ, three definitions are in use.

    Parameters
    ----------
    susceptibility, truth
        Maps in ppm, of one shape.
    mask
        Region of the evaluation, of the same shape.
    method
        ``inverse``: undo the fitted trend, r / a; gives 100 √(1/ρ² − 1).  The definition that the challenge
        intended and the community scorer uses.
        ``lstsq``: fit the truth by the reconstruction instead; gives 100 √(1 − ρ²).
        ``rc2-as-run``: what the challenge's code does: the trend is applied, not undone, a r; gives
        100 √(a⁴/ρ² − 2 a² + 1), which penalises an underestimated susceptibility twice.

    Raises
    ------
    DataError
        If the mask is empty or not binary, the truth is constant in it, shapes differ, or (``inverse``) the slope is
        zero.
    ParameterError
        If the method is unknown.

    References
    ----------
    Bilgic B, Langkammer C, Marques JP, et al. QSM reconstruction challenge 2.0: design and report of results.
    Magn Reson Med 2021;86:1241-1255. doi:10.1002/mrm.28754
    """
    if method not in get_args(DetrendMethod):
        raise ParameterError(f"method: unknown detrending '{method}'{did_you_mean(method, get_args(DetrendMethod))}")
    r, t, norm = _demeaned(susceptibility, truth, mask)
    if method == "lstsq":
        slope, intercept = linear_fit(r, t)
        detrended = slope * r + intercept
    else:
        slope, intercept = linear_fit(t, r)
        if method == "rc2-as-run":
            detrended = slope * r + intercept
        elif slope == 0:
            raise DataError("the reconstruction does not correlate with the truth, so its trend cannot be undone")
        else:
            detrended = (r - intercept) / slope
    return 100.0 * float(np.linalg.norm(detrended - t)) / norm


def linear_slope_deviation(
    susceptibility: NDArray, truth: NDArray, labels: NDArray, *, variant: Variant = "rc2"
) -> float:
    """Deviation from one of the slope of reconstructed on true mean susceptibility of the deep grey nuclei.

    The mask plays no part: means are over whole labels 1 to 6.

    Parameters
    ----------
    susceptibility, truth
        Maps in ppm, of one shape.
    labels
        Label map of the same shape.
    variant
        ``rc2`` needs all six labels; ``community`` needs two.

    Raises
    ------
    DataError
        If labels are missing, or the images do not fit together.
    ParameterError
        If the variant is unknown.
    """
    require_variant(variant)
    susceptibility, truth, _ = two_maps(susceptibility, truth)
    labels = label_map(labels, truth)
    present = [label for label in DEEP_GREY_LABELS if np.any(labels == label)]
    missing = sorted(set(DEEP_GREY_LABELS) - set(present))
    if variant == "rc2" and missing:
        raise DataError(f"the label map lacks deep grey matter label(s) {', '.join(map(str, missing))}")
    if len(present) < 2:
        raise DataError("the label map holds fewer than two of the deep grey matter labels 1 to 6")
    regions = [labels == label for label in present]
    true_means = np.array([truth[region].mean(dtype=float) for region in regions])
    means = np.array([susceptibility[region].mean(dtype=float) for region in regions])
    return abs(1.0 - linear_fit(true_means, means)[0])


def tissue_region(labels: NDArray, mask: NDArray) -> NDArray[np.bool_]:
    """Thalamus, white and grey matter inside the mask."""
    return _inhabited(mask & (labels >= min(TISSUE_LABELS)) & (labels <= max(TISSUE_LABELS)), "labels 7 to 9 (tissue)")


def blood_region(labels: NDArray, mask: NDArray) -> NDArray[np.bool_]:
    """Blood inside the mask, dilated by one voxel in all 26 directions; the rim may leave the mask."""
    region = _inhabited(mask & (labels == BLOOD_LABEL), f"label {BLOOD_LABEL} (blood)")
    for axis in range(region.ndim):
        along = np.moveaxis(region, axis, 0)
        grown = along.copy()
        grown[1:] |= along[:-1]
        grown[:-1] |= along[1:]
        region = np.moveaxis(grown, 0, axis)
    return region


def deep_grey_region(labels: NDArray, mask: NDArray, *, variant: Variant = "rc2") -> NDArray[np.bool_]:
    """Deep grey nuclei inside the mask; in the ``rc2`` variant also every voxel of the mask without a label."""
    region = mask & (labels < 7)
    if variant == "community":
        region &= labels >= 1
    return _inhabited(region, "labels 1 to 6 (deep grey matter)")


def linear_fit(x: NDArray[np.floating], y: NDArray[np.floating]) -> tuple[float, float]:
    """Slope and intercept of the least-squares line y = slope x + intercept; slope 0 if x or y is constant."""
    along = centred(x)
    scatter = float(along @ along)
    slope = float(along @ centred(y)) / scatter if scatter > NEGLIGIBLE else 0.0
    return slope, float(y.mean()) - slope * float(x.mean())


def centred(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Values less their mean; zeros where all are equal, which the rounding of a mean would hide."""
    if values.size and values.min() == values.max():
        return np.zeros_like(values)
    return values - values.mean()


def _demeaned(
    susceptibility: NDArray, truth: NDArray, mask: NDArray
) -> tuple[NDArray[np.floating], NDArray[np.floating], float]:
    """Both maps in the region as demeaned float64 vectors, and the norm of the truth."""
    recon, true, region = two_maps(susceptibility, truth, mask)
    r, t = centred(recon[region]), centred(true[region])
    norm = float(np.linalg.norm(t))
    if norm <= NEGLIGIBLE:
        raise DataError("the truth is constant in the region of the evaluation")
    return r, t, norm


def _inhabited(region: NDArray[np.bool_], name: str) -> NDArray[np.bool_]:
    if not region.any():
        raise DataError(f"no voxel of the mask carries {name}")
    return region
