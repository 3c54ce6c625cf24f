"""Quasi-optimality (``stability``): the map should depend as little as can be on the weight."""

from __future__ import annotations

import numpy as np

from qsm_recon.select.curve import Curve
from qsm_recon.select.extremum import interior_minimum
from qsm_recon.select.pick import Pick, none_found


def quasi_optimality(curve: Curve) -> Pick:
    """Weight at which the change of the map with the logarithm of the weight is smallest.

    Where the weight is too small, noise changes with it; where it is too large, structure does.  Needs neither the
    noise level nor anything of the method; the quasi-optimality criterion of Tikhonov and Glasko.
    """
    method = "stability"
    if curve.sensitivity is None or len(curve.sensitivity) < 4:
        return none_found(method, "too few changes from map to map are known")
    t, change = np.log(curve.sensitivity[:, 0]), np.log(curve.sensitivity[:, 1])
    # Where hardly anything of the map is left, it changes little too: only what lies below the highest change counts.
    top = int(np.argmax(change[len(change) // 2 :])) + len(change) // 2
    found = interior_minimum(t[: top + 1], change[: top + 1])
    if found is None:
        return none_found(method, "no interior optimum: the map changes least at an end of the sweep")
    position, depth = found
    return Pick(
        method, float(np.exp(position)), float(np.clip(2 * depth, 0, 1)), "the map changes least with the weight"
    )
