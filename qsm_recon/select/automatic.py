"""The default rule (``auto``)."""

from __future__ import annotations

import numpy as np

from qsm_recon.select.curve import Curve
from qsm_recon.select.discrepancy import generalised_discrepancy
from qsm_recon.select.gcv import generalised_cross_validation
from qsm_recon.select.lcurve import zero_curvature
from qsm_recon.select.pick import Pick, none_found
from qsm_recon.select.stability import quasi_optimality

STABILITY_FACTOR = 2.5
"""On the most stable weight, which is always somewhat too small."""
ESTIMATED_NOISE = 0.3
"""Factor on the confidence where the noise is only estimated: that may miss what limits data from a scanner."""


def automatic(curve: Curve) -> Pick:
    """Fit the field as well as its noise and the error of the model allow, no better.

    How that was decided, and on which phantoms, is in docs/selection.md.  Where it is not known how well that is, or no
    weight inside the sweep does it: generalised cross-validation for closed forms, else 2.5 times the most stable
    weight, else zero curvature, all with little confidence.
    """
    first = generalised_discrepancy(curve)
    if first.found:
        noise = 0.0
        if curve.noise_cost is not None and curve.expected_cost is not None:
            noise = float(np.clip(np.median(curve.noise_cost / curve.expected_cost), 0, 1))
        # Noise is measured, the error of the model assumed.
        confidence = first.confidence * (0.5 + 0.5 * noise)
        reason = f"{first.reason} (noise alone: {100 * noise:.0f} % of that)"
        if not curve.noise_measured:
            confidence *= ESTIMATED_NOISE
            reason += "; the noise is an estimate from the field itself: compare with neighbouring maps"
        return Pick("auto", first.value, confidence, reason)
    tried = [first]
    for rule, factor in (
        (generalised_cross_validation, 1.0),
        (quasi_optimality, STABILITY_FACTOR),
        (zero_curvature, 1),
    ):
        pick = rule(curve)
        if pick.value is not None and factor * pick.value <= curve.parameter[-1]:
            times = "" if factor == 1 else f"{factor:g} times "
            reason = f"{times}{pick.method}: {pick.reason} ({first.reason})"
            return Pick("auto", float(factor * pick.value), 0.3 * pick.confidence, reason)
        tried.append(pick)
    return none_found("auto", f"no interior optimum ({'; '.join(f'{pick.method}: {pick.reason}' for pick in tried)})")
