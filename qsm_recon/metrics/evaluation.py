"""Score a reconstruction with all metrics of one definition at once."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qsm_recon.errors import DataError
from qsm_recon.metrics import calcification, inputs, rc2, similarity, windows
from qsm_recon.metrics.scores import OFFICIAL_METRICS, Scores
from qsm_recon.values import image_array, real_number

logger = logging.getLogger(__name__)


def evaluate(
    susceptibility_ppm: ArrayLike,
    truth_ppm: ArrayLike,
    mask: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    variant: rc2.Variant = "rc2",
    calcification_moment: float | None = None,
    similarity: bool = True,
) -> Scores:
    """Score a reconstruction with the eight metrics of the 2019 challenge and the further ones of its report.

    Parameters
    ----------
    susceptibility_ppm
        Reconstruction in ppm, (x, y, z).  Values that are not finite, or that a masked array hides, count as zero, in
        both definitions.
    truth_ppm
        True susceptibility in ppm, of the same shape.
    mask
        Where to evaluate, of the same shape; the challenge eroded its brain mask for this.
    labels
        Label map with the challenge's numbers, of the same shape; without it the metrics of regions are None.
    variant
        ``rc2``: what the challenge's own code computes, comparable with its published tables.  ``community``: what
        the QSM-CI scorer computes, for which both maps are set to zero outside the mask.
    calcification_moment
        True moment of the calcification in ppm × voxels, where it is known better than from the truth.
    similarity
        Whether to compute the further metrics too.

    Returns
    -------
    Scores
        A metric that the data do not allow is None, with the reason.

    Raises
    ------
    DataError
        If shapes differ, the maps do not hold real numbers, the mask is empty or not binary, the truth is not finite
        in the mask, or the label map does not hold whole numbers.
    ParameterError
        If the variant is unknown.
    """
    rc2.require_variant(variant)
    if calcification_moment is not None:
        calcification_moment = real_number("calcification_moment", calcification_moment, "a sum in ppm × voxels")
    recon, truth, region, regions = _checked(susceptibility_ppm, truth_ppm, mask, labels)
    if variant == "community":
        recon, truth = np.where(region, recon, 0.0), np.where(region, truth, 0.0)
    scores = Scores()
    scores.record("nrmse", lambda: rc2.nrmse(recon, truth, region))
    scores.record("dnrmse", lambda: _detrended(recon, truth, region, variant))
    if regions is None:
        for name in OFFICIAL_METRICS[2:]:
            scores.withhold(name, "no label map was given")
    else:
        _score_regions(scores, recon, truth, region, regions, variant, calcification_moment)
    if similarity:
        _score_similarity(scores, recon, truth, region, variant)
    return scores


def _score_regions(
    scores: Scores,
    recon: NDArray,
    truth: NDArray,
    mask: NDArray[np.bool_],
    labels: NDArray,
    variant: rc2.Variant,
    true_moment: float | None,
) -> None:
    """Record the six metrics that need the label map."""
    regions: dict[str, Callable[[], NDArray]] = {
        "dnrmse_tissue": lambda: rc2.tissue_region(labels, mask),
        "dnrmse_blood": lambda: rc2.blood_region(labels, mask),
        "dnrmse_dgm": lambda: rc2.deep_grey_region(labels, mask, variant=variant),
    }
    for name, region in regions.items():
        scores.record(name, lambda region=region: _detrended(recon, truth, region(), variant))  # type: ignore[misc]
    scores.record("linear_slope_deviation", lambda: rc2.linear_slope_deviation(recon, truth, labels, variant=variant))
    scores.record(
        "calcification_streaking",
        lambda: calcification.calcification_streaking(recon, truth, labels, variant=variant),
    )
    scores.record(
        "calcification_moment_deviation",
        lambda: calcification.calcification_moment_deviation(
            recon, truth, labels, variant=variant, true_moment=true_moment
        ),
    )


def _score_similarity(
    scores: Scores, recon: NDArray, truth: NDArray, mask: NDArray[np.bool_], variant: rc2.Variant
) -> None:
    """Record the voxelwise metrics, on the mask's bounding box; SSIM and XSIM share their local moments."""
    box = windows.bounding_box(mask)
    region = mask[box]
    r, t = (np.where(region, image[box], 0.0) for image in (recon, truth))
    moments = windows.gaussian_moments(r, t)
    scores.record("ssim", lambda: similarity.ssim_from_moments(moments, t, region))
    if variant == "community":
        scores.record("xsim", lambda: similarity.xsim(recon, truth, mask, reference="community"))
        scores.record("hfen", lambda: similarity.hfen(recon, truth, mask, reference="community"))
    else:
        scores.record("xsim", lambda: similarity.xsim_from_moments(moments, region))
        scores.record("hfen", lambda: similarity.hfen(r, t, region))
    for name in ("cc", "mi", "mad", "gxe"):
        metric = getattr(similarity, name)
        scores.record(name, lambda metric=metric: metric(r, t, region))  # type: ignore[misc]
    if variant == "community" and scores.values["cc"] is None:
        # the scorer gives a constant map the correlation 0
        scores.reasons.pop("cc")
        scores.values["cc"] = 0.0


def _detrended(recon: NDArray, truth: NDArray, region: NDArray, variant: rc2.Variant) -> float:
    """Detrended error of the variant; the community scorer leaves a map without any trend as it is."""
    if variant == "rc2":
        return rc2.dnrmse(recon, truth, region, method="rc2-as-run")
    if np.ptp(recon[region]) == 0:
        return rc2.nrmse(recon, truth, region)
    return rc2.dnrmse(recon, truth, region, method="inverse")


def _checked(
    susceptibility: ArrayLike, truth: ArrayLike, mask: ArrayLike, labels: ArrayLike | None
) -> tuple[NDArray, NDArray, NDArray[np.bool_], NDArray | None]:
    """Check the inputs once, and return the maps as float64, the mask as booleans and the labels as integers."""
    if mask is None:
        raise DataError("mask: expected a mask, found None; give the voxels to evaluate", argument="mask")
    shape = image_array("truth", truth).shape
    if len(shape) != 3:
        raise DataError(f"truth: expected a three-dimensional image, found shape {shape}", argument="truth")
    recon, true, region = inputs.two_maps(susceptibility, truth, mask)
    if not np.isfinite(true[region]).all():
        raise DataError(
            "truth: values in the mask are not finite; a truth must be known wherever it is compared", argument="truth"
        )
    lost = ~np.isfinite(recon)
    if lost.any():
        logger.warning(
            "%d voxels of the reconstruction (%d in the mask) are not finite and count as zero",
            np.count_nonzero(lost),
            np.count_nonzero(lost & region),
        )
    recon, true = (np.where(np.isfinite(image), image, 0.0) for image in (recon, true))
    return recon, true, region, None if labels is None else inputs.label_map(labels, true)
