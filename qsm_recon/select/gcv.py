"""Generalised cross-validation (``gcv``), for closed forms."""

from __future__ import annotations

import numpy as np

from qsm_recon.select.curve import Curve
from qsm_recon.select.extremum import interior_minimum
from qsm_recon.select.pick import Pick, none_found


def generalised_cross_validation(curve: Curve) -> Pick:
    """Minimum of misfit / (1 - influence)², the influence being the mean over k-space of filter times kernel.

    Golub, Heath and Wahba, Technometrics 21:215-223 (1979), doi 10.1080/00401706.1979.10489751.
    """
    method = "gcv"
    if curve.influence is None:
        return none_found(method, "only closed forms have an influence matrix")
    score = np.log(curve.data_cost) - 2 * np.log1p(-curve.influence)
    found = interior_minimum(np.log(curve.parameter), score)
    if found is None:
        return none_found(method, "no interior optimum: the score is lowest at an end of the sweep")
    position, depth = found
    return Pick(method, float(np.exp(position)), float(np.clip(10 * depth, 0, 1)), "minimum of the GCV score")
