"""The two metrics around the calcification: its moment, and the streaks in the tissue next to it.

References
----------
Bilgic B, Langkammer C, Marques JP, et al. QSM reconstruction challenge 2.0: design and report of results.
Magn Reson Med 2021;86:1241-1255. doi:10.1002/mrm.28754
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import DataError
from qsm_recon.metrics.inputs import label_map, two_maps
from qsm_recon.metrics.rc2 import CALCIFICATION_LABEL, Variant, linear_fit, require_variant

CUBE_MARGIN = 3  # voxels between the label's bounding box and the cube searched for the calcification
RIM_WIDTH = 4  # of the rim around the cube where streaks are measured
OUTER_WIDTH = 4  # of the shell around the rim that the threshold has to spare as well

THRESHOLD_STEP_PPM = 0.01
LOWEST_THRESHOLD_PPM = {"rc2": -1.5, "community": -3.5}


@dataclass(frozen=True)
class Calcification:
    """The calcification as segmented in a reconstruction, and its surroundings.

    Parameters
    ----------
    segmented
        Susceptibility in ppm of the voxels taken as calcification; may be empty.
    rim, true_rim
        Susceptibility in ppm in the rim, of the reconstruction and of the truth.
    """

    segmented: NDArray[np.floating]
    rim: NDArray[np.floating]
    true_rim: NDArray[np.floating]

    @property
    def moment(self) -> float:
        """Susceptibility summed over the segmented voxels, in ppm × voxels.

        Raises
        ------
        DataError
            If nothing was segmented.
        """
        if self.segmented.size == 0:
            raise DataError("no voxel around the calcification is more diamagnetic than all of its surroundings")
        return self.segmented.size * float(self.segmented.mean())


def segment_calcification(
    susceptibility: NDArray, truth: NDArray, labels: NDArray, *, variant: Variant = "rc2"
) -> Calcification:
    """Segment the calcification by the highest threshold that spares its surroundings.

    The threshold starts at 0 ppm and falls in steps of 0.01 ppm until no voxel of the surroundings is below it.

    Parameters
    ----------
    susceptibility, truth
        Maps in ppm, of one shape.
    labels
        Label map of the same shape, with the calcification as 16.
    variant
        ``rc2`` searches down to -1.5 ppm, and needs 11 voxels between label and image border; ``community``
        searches down to -3.5 ppm, keeps that if nothing suits, and clips the boxes at the border.

    Raises
    ------
    DataError
        If there is no calcification, or (``rc2``) it is too near the border or no threshold suits; if the images do not
        fit together.
    ParameterError
        If the variant is unknown.
    """
    require_variant(variant)
    susceptibility, truth, _ = two_maps(susceptibility, truth)
    labels = label_map(labels, truth)
    indices = np.nonzero(labels == CALCIFICATION_LABEL)
    if indices[0].size == 0:
        raise DataError(f"the label map has no calcification (label {CALCIFICATION_LABEL})")
    bounds = [(int(axis.min()), int(axis.max()) + 1) for axis in indices]
    cube, rim, outer = (
        _box(bounds, margin, labels.shape, variant)
        for margin in (CUBE_MARGIN, CUBE_MARGIN + RIM_WIDTH, CUBE_MARGIN + RIM_WIDTH + OUTER_WIDTH)
    )
    region = np.zeros(labels.shape, dtype=np.uint8)
    region[outer], region[rim], region[cube] = 1, 2, 3
    region = region[outer]
    local, local_truth = susceptibility[outer], truth[outer]

    threshold = _threshold(local[region < 3], variant)
    candidates = local[region == 3]
    return Calcification(candidates[candidates < threshold], local[region == 2], local_truth[region == 2])


def calcification_moment(susceptibility: NDArray, labels: NDArray, *, variant: Variant = "rc2") -> float:
    """Moment of the calcification (summed susceptibility, ppm × voxels) as segmented in a map.

    Applied to the truth this gives the reference moment of the ``rc2`` variant.

    Raises
    ------
    DataError
        If it cannot be segmented.
    """
    return segment_calcification(susceptibility, susceptibility, labels, variant=variant).moment


def calcification_moment_deviation(
    susceptibility: NDArray,
    truth: NDArray,
    labels: NDArray,
    *,
    variant: Variant = "rc2",
    true_moment: float | None = None,
) -> float:
    """Absolute difference of the calcification's moment from the true one, in ppm × voxels.

    Parameters
    ----------
    susceptibility, truth
        Maps in ppm, of one shape.
    labels
        Label map of the same shape.
    variant
        See :func:`segment_calcification`.  In ``community`` an empty segmentation has moment 0.
    true_moment
        The true moment; by default it is the moment of the truth segmented in the same way (``rc2``), or the
        truth summed over the label (``community``).

    Raises
    ------
    DataError
        If the calcification cannot be segmented.
    """
    segmentation = segment_calcification(susceptibility, truth, labels, variant=variant)
    if true_moment is None:
        true_moment = (
            calcification_moment(truth, labels)
            if variant == "rc2"
            else float(np.asarray(truth, dtype=float)[label_map(labels, truth) == CALCIFICATION_LABEL].sum())
        )
    if variant == "community" and segmentation.segmented.size == 0:
        return abs(true_moment)
    return abs(true_moment - segmentation.moment)


def calcification_streaking(
    susceptibility: NDArray, truth: NDArray, labels: NDArray, *, variant: Variant = "rc2"
) -> float:
    """Measure the streaks in the rim: the spread that the truth does not explain, over the calcification's mean.

    Parameters
    ----------
    susceptibility, truth
        Maps in ppm, of one shape.
    labels
        Label map of the same shape.
    variant
        See :func:`segment_calcification`.  The standard deviation divides by n - 1 in ``rc2``, by n in
        ``community``.

    Raises
    ------
    DataError
        If the calcification cannot be segmented, or has no rim inside the image.
    """
    segmentation = segment_calcification(susceptibility, truth, labels, variant=variant)
    if segmentation.rim.size < 2:
        raise DataError("the calcification fills the image, so that no rim is left around it")
    mean = segmentation.moment / segmentation.segmented.size
    slope, intercept = linear_fit(segmentation.true_rim, segmentation.rim)
    residual = segmentation.rim - (slope * segmentation.true_rim + intercept)
    return float(residual.std(ddof=1 if variant == "rc2" else 0)) / abs(mean)


def _box(bounds: list[tuple[int, int]], margin: int, shape: tuple[int, ...], variant: Variant) -> tuple[slice, ...]:
    """Bounding box grown by a margin, clipped at the image border (``community``) or required inside it."""
    if variant == "rc2" and any(
        start < margin or stop > size - margin for (start, stop), size in zip(bounds, shape, strict=True)
    ):
        raise DataError(
            f"the calcification is nearer than {margin} voxels to the image border, which the challenge's definition "
            "does not cover; pad the images or use the variant 'community'"
        )
    return tuple(
        slice(max(start - margin, 0), min(stop + margin, size))
        for (start, stop), size in zip(bounds, shape, strict=True)
    )


def _threshold(surroundings: NDArray[np.floating], variant: Variant) -> float:
    """First of 0, -0.01, -0.02, ... ppm that no voxel of the surroundings is below."""
    lowest = LOWEST_THRESHOLD_PPM[variant]
    darkest = float(surroundings.min()) if surroundings.size else 0.0
    for step in range(round(-lowest / THRESHOLD_STEP_PPM) + 1):
        threshold = -step * THRESHOLD_STEP_PPM
        if darkest >= threshold:
            return threshold
    if variant == "rc2":
        raise DataError(
            f"the surroundings of the calcification fall to {darkest:.2f} ppm, below the lowest threshold {lowest} ppm"
        )
    return lowest
