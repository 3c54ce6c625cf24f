"""Rules on the L-curve: its corner (``lcurve``) and where its curvature vanishes (``zero-curvature``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.select.curve import Curve, curvature
from qsm_recon.select.pick import Pick, none_found

SMALLEST_CURVATURE = 0.02
"""A corner bends more than this; a circle that turned by it over one e-fold of cost would be called straight."""


def maximum_curvature(curve: Curve) -> Pick:
    """Corner of the L-curve: the largest interior maximum of its curvature (Hansen and O'Leary 1993)."""
    method = "lcurve"
    found = _corner(curve)
    if isinstance(found, str):
        return none_found(method, found)
    parameter, kappa, corner = found
    return Pick(
        method,
        float(parameter[corner]),
        _confidence(kappa, corner),
        f"convex corner with curvature {kappa[corner]:.3g}",
    )


def zero_curvature(curve: Curve) -> Pick:
    """First zero of the curvature towards weaker regularisation, seen from the corner.

    Milovic et al., Magn Reson Med 85:480-494 (2021), doi 10.1002/mrm.28435, found it nearest to the best map.
    """
    method = "zero-curvature"
    found = _corner(curve)
    if isinstance(found, str):
        return none_found(method, found)
    parameter, kappa, corner = found
    below = np.flatnonzero(kappa[:corner] <= 0)
    if not len(below):
        return none_found(method, "the curvature stays positive from the corner to the weak end; sweep further down")
    i = int(below[-1])
    fraction = kappa[i] / (kappa[i] - kappa[i + 1])
    log_value = (1 - fraction) * np.log(parameter[i]) + fraction * np.log(parameter[i + 1])
    return Pick(
        method,
        float(np.exp(log_value)),
        _confidence(kappa, corner),
        f"curvature vanishes below the corner at {parameter[corner]:.3g}",
    )


def _corner(curve: Curve) -> tuple[NDArray, NDArray, int] | str:
    """Fine parameter, curvature and index of the corner, or why there is none."""
    trusted = curve.trusted()
    if len(trusted) < 5:
        return f"only {len(trusted)} consecutive points have monotone costs; five are needed"
    fine = curvature(trusted)
    kappa = fine.value
    inner = np.flatnonzero((kappa[1:-1] > kappa[:-2]) & (kappa[1:-1] >= kappa[2:])) + 1
    inner = inner[kappa[inner] > SMALLEST_CURVATURE]
    if not len(inner):
        return "no interior optimum: the L-curve has no convex corner inside the sweep"
    return fine.parameter, kappa, int(inner[np.argmax(kappa[inner])])


def _confidence(kappa: NDArray, corner: int) -> float:
    """How far the corner rises above the rest of the curve."""
    return float(np.clip((kappa[corner] - np.median(kappa)) / (abs(kappa[corner]) + 0.1), 0, 1))
