"""The U-curve (``ucurve``)."""

from __future__ import annotations

import numpy as np

from qsm_recon.select.curve import Curve
from qsm_recon.select.extremum import interior_minimum
from qsm_recon.select.pick import Pick, none_found


def u_curve(curve: Curve) -> Pick:
    """Minimum of the sum of the reciprocals of both costs, each normalised by its geometric mean over the sweep.

    Krawczyk-Stańdo and Rudnicki take the bare costs; but these have different units, so that one of them never counts.
    The normalised rule depends on the range that is swept instead.
    """
    method = "ucurve"
    trusted = curve.trusted()
    if len(trusted) < 5:
        return none_found(method, f"only {len(trusted)} consecutive points have monotone costs; five are needed")
    data = trusted.data_cost / np.exp(np.log(trusted.data_cost).mean())
    regularisation = trusted.regularisation_cost / np.exp(np.log(trusted.regularisation_cost).mean())
    total = np.log(1 / data + 1 / regularisation)
    found = interior_minimum(np.log(trusted.parameter), total)
    if found is None:
        return none_found(method, "no interior optimum: the U-curve is lowest at an end of the sweep")
    position, depth = found
    return Pick(method, float(np.exp(position)), float(np.clip(depth, 0, 1)), "minimum of the normalised U-curve")
