"""The default rule (``auto``)."""

from __future__ import annotations

import numpy as np

from qsm_recon.select.curve import Curve
from qsm_recon.select.discrepancy import discrepancy
from qsm_recon.select.gcv import generalised_cross_validation
from qsm_recon.select.lcurve import zero_curvature
from qsm_recon.select.pick import Pick, none_found
from qsm_recon.select.stability import quasi_optimality

AGREEMENT = 1.0
"""Natural logarithm of the ratio of two picks at which their agreement has fallen to 1/e."""
STABILITY_FACTOR = 1.5
"""The map is most stable at somewhat too small a weight, by 1.2 to 2.5 on the phantoms."""


def automatic(curve: Curve) -> Pick:
    """Choose by the rules that did best on phantoms kept for that purpose (docs/selection.md tells which).

    Closed forms: generalised cross-validation.  Others: the larger of the weights that the discrepancy principle and
    stability (times 1.5) ask for.  The first is right where noise is what limits the map; where it is not, because the
    model does not hold exactly, it would fit what is no field, and the second is larger.  Where neither applies: zero
    curvature.
    """
    if curve.influence is not None:
        pick = generalised_cross_validation(curve)
        if pick.found:
            return Pick("auto", pick.value, pick.confidence, f"generalised cross-validation: {pick.reason}")
    candidates = {"discrepancy": discrepancy(curve), "stability": quasi_optimality(curve)}
    factors = {"discrepancy": 1.0, "stability": STABILITY_FACTOR}
    values = {name: factors[name] * pick.value for name, pick in candidates.items() if pick.value is not None}
    if values:
        chosen = max(values, key=lambda name: values[name])
        apart = float(np.log(max(values.values()) / min(values.values())))
        confidence = float(np.exp(-apart / AGREEMENT)) if len(values) > 1 else 0.3
        others = [f"{name}: {value:.3g}" for name, value in values.items() if name != chosen]
        others += [f"{name}: {pick.reason}" for name, pick in candidates.items() if not pick.found]
        return Pick("auto", values[chosen], confidence, f"{chosen} ({'; '.join(others)})")
    pick = zero_curvature(curve)
    if pick.found:
        return Pick("auto", pick.value, 0.5 * pick.confidence, f"zero curvature: {pick.reason}")
    reasons = "; ".join(f"{name}: {pick.reason}" for name, pick in candidates.items())
    return none_found("auto", f"no interior optimum ({reasons}; zero curvature: {pick.reason})")
