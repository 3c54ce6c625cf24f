"""The cerebrospinal fluid of the ventricles, as a region of uniform susceptibility and zero reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import DataError
from qsm_recon.operators.gradient import Spacing

COMPONENTS = 3


def ventricle_mask(
    r2star_per_s: NDArray,
    mask: NDArray[np.bool_],
    voxel_size_mm: Spacing,
    threshold_per_s: float = 5.0,
    radius_mm: float = 30.0,
    margin_mm: float = 10.0,
) -> NDArray[np.bool_]:
    """Find cerebrospinal fluid in the middle of the brain by its slow decay.

    Parameters
    ----------
    r2star_per_s
        (nx, ny, nz) R2*, 1/s.
    mask
        (nx, ny, nz) brain.
    voxel_size_mm
        Voxel size.
    threshold_per_s
        R2* of fluid lies below it.
    radius_mm
        How far from the centre of the mask fluid is looked for.
    margin_mm
        How far inside the mask.

    Returns
    -------
    ndarray
        (nx, ny, nz) the three largest connected pieces.

    Raises
    ------
    DataError
        If there is no such voxel.

    References
    ----------
    Liu et al., Magn Reson Med 79:2795-2803 (2018), doi 10.1002/mrm.26946.
    """
    from scipy import ndimage

    centre = [float(c) for c in ndimage.center_of_mass(mask)]
    axes = np.ix_(*((np.arange(n) - c) * d for n, c, d in zip(mask.shape, centre, voxel_size_mm, strict=True)))
    near = sum(a * a for a in axes) <= radius_mm**2
    deep = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=voxel_size_mm)[1:-1, 1:-1, 1:-1] > margin_mm
    labels, count = ndimage.label(near & deep & (r2star_per_s < threshold_per_s))
    if count == 0:
        raise DataError(
            f"R2*: no voxel below {threshold_per_s:g} /s within {radius_mm:g} mm of the centre of the mask; "
            "raise csf_r2star or set csf_weight=0"
        )
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.isin(labels, np.argsort(sizes)[::-1][:COMPONENTS]) & (sizes[labels] > 0)
