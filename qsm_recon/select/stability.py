"""Quasi-optimality (``stability``): the map should depend as little as can be on the weight."""

from __future__ import annotations

import numpy as np

from qsm_recon.select.curve import Curve
from qsm_recon.select.extremum import interior_minimum
from qsm_recon.select.pick import Pick, none_found

LEAST_DEPTH = 0.02
"""Logarithm of how much more the map must change on either side."""


def quasi_optimality(curve: Curve) -> Pick:
    """Weight at which the change of the map with the logarithm of the weight is smallest.

    Where the weight is too small, noise changes with it; where it is too large, structure does.  Needs neither the
    noise level nor anything of the method; the quasi-optimality criterion of Tikhonov and Glasko.
    """
    method = "stability"
    if curve.sensitivity is None or len(curve.sensitivity) < 4:
        return none_found(method, "too few changes from map to map are known")
    t, change = np.log(curve.sensitivity[:, 0]), np.log(curve.sensitivity[:, 1])
    # Where hardly anything of the map is left, it changes little too: what counts is the deepest valley, not the lowest
    # value, and a valley must be deeper than changes are accurate.
    valleys = np.flatnonzero((change[1:-1] < change[:-2]) & (change[1:-1] <= change[2:])) + 1
    depths = np.array([min(change[:i].max(), change[i + 1 :].max()) - change[i] for i in valleys])
    if not len(valleys) or depths.max() < LEAST_DEPTH:
        return none_found(method, "no interior optimum: the change of the map has no valley inside the sweep")
    depth, lowest = float(depths.max()), int(valleys[np.argmax(depths)])
    near = slice(lowest - 1, lowest + 2)
    found = interior_minimum(t[near], change[near])
    position = t[lowest] if found is None else found[0]
    return Pick(
        method, float(np.exp(position)), float(np.clip(2 * depth, 0, 1)), "the map changes least with the weight"
    )
