"""Preconditioners P of total field inversion, χ = P y: large where strong sources are expected.

They leave the minimiser as it is and decide how fast, and through which maps, it is approached.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.gradient import Spacing

Kind = Literal["none", "binary", "r2star", "adaptive"]
R2STAR_AT_3T = 30.0
"""R2* (1/s) above which sources count as strong at 3 T; R2* of iron grows with the main field."""

MINIMUM_COUNT = 30


def r2star_threshold(b0_tesla: float | None) -> float:
    """Threshold in 1/s at a field strength; that of 3 T where it is unknown."""
    return R2STAR_AT_3T * (1.0 if b0_tesla is None else b0_tesla / 3.0)


def binary_preconditioner(
    mask: NDArray[np.bool_],
    strong: float,
    r2star_per_s: NDArray | None = None,
    threshold_per_s: float = R2STAR_AT_3T,
) -> NDArray[np.float32]:
    """1 inside the mask, ``strong`` outside and, given R2*, also where that reaches a threshold.

    Liu et al., Magn Reson Med 78:303-315 (2017), doi 10.1002/mrm.26331.
    """
    weak = mask if r2star_per_s is None else mask & (r2star_per_s < threshold_per_s)
    return np.where(weak, np.float32(1), np.float32(strong))


def adaptive_preconditioner(
    mask: NDArray[np.bool_],
    voxel_size_mm: Spacing,
    approximation: NDArray,
    strong: float,
    r2star_per_s: NDArray | None = None,
) -> tuple[NDArray[np.float32], dict[str, float]]:
    """Fit P to the sizes of an approximate susceptibility: a sigmoid of R2* inside, a power of distance outside.

    Parameters
    ----------
    mask
        (nx, ny, nz) inside.
    voxel_size_mm
        Voxel size.
    approximation
        (nx, ny, nz) susceptibility over the whole field of view, ppm.
    strong
        Largest P.
    r2star_per_s
        (nx, ny, nz) R2*; without it P is 1 inside.

    Returns
    -------
    preconditioner
        (nx, ny, nz), from 1 to ``strong``.
    parameters
        What was fitted: sigma1, sigma2, s1, s2 (inside); sigma0, r0_mm (outside).

    References
    ----------
    Liu et al., Proc Intl Soc Mag Reson Med 26:2520 (2018).
    """
    from scipy.ndimage import distance_transform_edt

    size = np.abs(approximation)
    typical = max(float(np.median(size[mask])), 1e-9)
    inside = {"sigma1": typical, "sigma2": typical, "s1": 0.0, "s2": 1.0}
    if r2star_per_s is not None:
        rates, medians = _medians(r2star_per_s[mask], size[mask], np.arange(0.5, 151.0, 1.0))
        inside = _fit_sigmoid(rates, medians) or inside
    distance = distance_transform_edt(~mask, sampling=voxel_size_mm)
    spacing = float(max(voxel_size_mm))
    far, sizes = _medians(distance[~mask], size[~mask], np.arange(0.0, distance.max() + spacing, spacing))
    outside = _fit_power(far, sizes) or {"sigma0": typical, "r0_mm": 10.0}
    expected = outside["sigma0"] / (1.0 + distance / outside["r0_mm"]) ** 3
    if r2star_per_s is not None:
        expected[mask] = _sigmoid(r2star_per_s[mask], *inside.values())
    else:
        expected[mask] = inside["sigma1"]
    scaled = np.clip(expected / inside["sigma1"], 1.0, strong).astype(np.float32)
    return scaled, {**inside, **outside}


def _medians(position: NDArray, size: NDArray, edges: NDArray) -> tuple[NDArray, NDArray]:
    """Median sizes in bins of position that hold enough voxels, and the middles of those bins."""
    order = np.argsort(position)
    cuts = np.searchsorted(position[order], edges)
    middles, medians = [], []
    for low, high, a, b in zip(cuts[:-1], cuts[1:], edges[:-1], edges[1:], strict=True):
        if high - low >= MINIMUM_COUNT:
            middles.append(0.5 * (a + b))
            medians.append(float(np.median(size[order[low:high]])))
    return np.array(middles), np.array(medians)


def _sigmoid(rate: NDArray, sigma1: float, sigma2: float, s1: float, s2: float) -> NDArray:
    return sigma1 + (sigma2 - sigma1) / (1.0 + np.exp(-np.clip((rate - s1) / s2, -50, 50)))


def _fit_sigmoid(rates: NDArray, medians: NDArray) -> dict[str, float] | None:
    from scipy.optimize import least_squares

    if len(rates) < 5:
        return None
    low, high = float(medians.min()), float(medians.max())
    span = float(rates[-1] - rates[0])
    start = [low, high, float(rates.mean()), span / 8]
    bounds = ([1e-9, 1e-9, float(rates[0]), span / 100], [2 * high + 1e-8, 100 * high + 1e-8, float(rates[-1]), span])
    start = np.clip(start, np.array(bounds[0]) * 1.0001, np.array(bounds[1]) * 0.9999).tolist()

    def misfit(p: NDArray) -> NDArray:
        return _sigmoid(rates, *p) - medians

    found = least_squares(misfit, start, bounds=bounds, x_scale=np.abs(start)).x
    return dict(zip(("sigma1", "sigma2", "s1", "s2"), map(float, found), strict=True))


def _fit_power(distances: NDArray, medians: NDArray) -> dict[str, float] | None:
    from scipy.optimize import least_squares

    if len(distances) < 3 or not medians.max() > 0:
        return None
    start = [float(medians.max()), 10.0]

    def misfit(p: NDArray) -> NDArray:
        return p[0] / (1 + distances / p[1]) ** 3 - medians

    found = least_squares(
        misfit,
        start,
        bounds=([1e-12, 0.1], [1e3 * start[0], 1e4]),
        x_scale=start,
    ).x
    return {"sigma0": float(found[0]), "r0_mm": float(found[1])}


def padded_mask(operator: DipoleOperator, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Lay a mask on the operator's padded grid."""
    result = np.zeros(operator.padded_grid.shape, bool)
    nx, ny, nz = mask.shape
    result[:nx, :ny, :nz] = mask
    return result
