"""What counts as a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qsm_recon.errors import DataError
from qsm_recon.values import image_array


def binary_mask(values: ArrayLike, name: str) -> NDArray[np.bool_]:
    """Return a mask as booleans after checking that it is binary and not empty.

    Parameters
    ----------
    values
        0 and 1 (or 0 and one other positive value); what a masked array hides counts as 0.
    name
        File or argument named in the error.

    Raises
    ------
    DataError
        If it holds something else than real numbers, NaN, more than two values, a negative value, or nothing but zeros.
    """
    data = image_array(name, np.ma.filled(values, 0) if isinstance(values, np.ma.MaskedArray) else values)
    if data.dtype.kind not in "biuf":
        raise DataError(f"{name}: expected a mask of 0 and 1, or of booleans, found {data.dtype}", argument=name)
    if data.dtype == bool:
        mask = data
    else:
        if not np.isfinite(data).all():
            raise DataError(
                f"{name}: the mask holds NaN or infinite values; a mask must be 0 or 1 everywhere", argument=name
            )
        mask = data != 0
        low, high = (float(data.min()), float(data.max())) if mask.any() else (0.0, 0.0)
        if low < 0 or ((data != high) & mask).any():
            count = np.unique(data[mask]).size + 1
            raise DataError(
                f"{name}: expected a binary mask, found {count} values from {low:g} to {high:g}; threshold it first",
                argument=name,
            )
    if not mask.any():
        raise DataError(f"{name}: the mask is empty; it must mark the voxels to reconstruct", argument=name)
    return mask
