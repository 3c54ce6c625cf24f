"""The discrepancy principle (``discrepancy``): the field should be fitted as well as its noise allows, no better."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.select.curve import Curve
from qsm_recon.select.extremum import crossings
from qsm_recon.select.pick import Pick, none_found


def discrepancy(curve: Curve) -> Pick:
    """Weight at which the fidelity equals that of the noise alone (Morozov's principle)."""
    if curve.noise_cost is None:
        return none_found("discrepancy", "the noise of the field is unknown")
    return _crossing("discrepancy", curve, curve.noise_cost, "the noise")


def _crossing(method: str, curve: Curve, expected: NDArray[np.float64], name: str) -> Pick:
    """Largest weight at which the data cost equals an expected one."""
    t = np.log(curve.parameter)
    excess = np.log(curve.data_cost / expected)
    found = crossings(t, excess)
    if not found:
        if excess[0] > 0:
            reason = f"even the weakest weight leaves {np.exp(excess[0]):.3g} times {name}; sweep further down"
        else:
            reason = f"even the strongest weight leaves only {np.exp(excess[-1]):.3g} of {name}; sweep further up"
        return none_found(method, f"no interior optimum: {reason}")
    slope = abs(np.interp(found[0], t, np.gradient(excess, t)))
    return Pick(method, float(np.exp(found[0])), float(np.clip(slope, 0, 1)), f"the misfit equals {name}")
