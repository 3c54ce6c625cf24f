"""What metrics compare: two maps of one shape, a region, labels.  All public metrics take their arguments through here.

What a masked array hides counts as NaN in maps, as outside in masks, and as 0 in label maps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qsm_recon.errors import DataError
from qsm_recon.masks import binary_mask
from qsm_recon.values import floating_image, image_array


def two_maps(
    susceptibility: ArrayLike, truth: ArrayLike, mask: ArrayLike | None = None
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_]]:
    """Return both maps in double precision and the region, all of the image where no mask is given.

    Raises
    ------
    DataError
        If shapes differ, maps do not hold real numbers, or the mask is empty or not binary.
    """
    maps = {"susceptibility": susceptibility, "truth": truth}
    recon, true = (floating_image(name, image).astype(np.float64, copy=False) for name, image in maps.items())
    region = np.ones(true.shape, bool) if mask is None else binary_mask(mask, "mask")
    _require_shape("susceptibility", recon, true)
    _require_shape("mask", region, true)
    return recon, true, region


def label_map(labels: ArrayLike, truth: NDArray[Any]) -> NDArray[np.integer]:
    """Return a label map of the truth's shape as whole numbers.

    Raises
    ------
    DataError
        If it is of another shape, or does not hold whole numbers.
    """
    filled = np.ma.filled(labels, 0) if isinstance(labels, np.ma.MaskedArray) else labels
    array = image_array("labels", filled)
    _require_shape("labels", array, truth)
    if array.dtype.kind in "iub":
        return array
    rounded = np.rint(array) if array.dtype.kind == "f" else np.full(1, np.nan)
    if not np.isfinite(rounded).all() or np.abs(array - rounded).max() > 1e-3:
        raise DataError(
            "labels: expected whole numbers; resample a label map with nearest-neighbour interpolation",
            argument="labels",
        )
    whole: NDArray[np.integer] = rounded.astype(np.int32)
    return whole


def _require_shape(name: str, image: NDArray[Any], truth: NDArray[Any]) -> None:
    if image.shape != truth.shape:
        raise DataError(
            f"{name}: shape {image.shape} does not fit the truth's {truth.shape}; expected images of one shape",
            argument=name,
        )
