"""The default rule (``auto``)."""

from __future__ import annotations

import numpy as np

from qsm_recon.select.curve import Curve
from qsm_recon.select.discrepancy import discrepancy
from qsm_recon.select.gcv import generalised_cross_validation
from qsm_recon.select.lcurve import zero_curvature
from qsm_recon.select.pick import Pick, none_found
from qsm_recon.select.stability import quasi_optimality

NOISE_LIMITED = 2 / 3
"""Noise limits the map where the discrepancy principle asks for at least this fraction of the most stable weight."""
STABILITY_FACTOR = 2.5
"""On the most stable weight where noise does not limit the map: it is too small there."""


def automatic(curve: Curve) -> Pick:
    """Choose by what limits the map; how that was decided, and on which phantoms, is in docs/selection.md.

    Closed forms: generalised cross-validation.  Others: the discrepancy principle where noise limits the map.  Where it
    asks for much less than the most stable weight (:func:`qsm_recon.select.stability.quasi_optimality`), it would fit
    what the model cannot explain rather than noise, and 2.5 times that weight is taken.  Where neither applies: zero
    curvature.
    """
    if curve.influence is not None:
        pick = generalised_cross_validation(curve)
        if pick.found:
            return Pick("auto", pick.value, pick.confidence, f"generalised cross-validation: {pick.reason}")
    noise, stable = discrepancy(curve), quasi_optimality(curve)
    found = f"discrepancy {_shown(noise)}, stability {_shown(stable)}"
    if noise.value is not None and (stable.value is None or noise.value >= NOISE_LIMITED * stable.value):
        confidence = 0.3 if stable.value is None else _agreement(noise.value, stable.value)
        return Pick("auto", noise.value, confidence, f"noise limits the map: {noise.reason} ({found})")
    if stable.value is not None:
        value = STABILITY_FACTOR * stable.value
        if value <= curve.parameter[-1]:
            reason = f"noise does not limit the map: {STABILITY_FACTOR:g} times the most stable weight ({found})"
            return Pick("auto", float(value), 0.5 * stable.confidence, reason)
    pick = zero_curvature(curve)
    if pick.found:
        return Pick("auto", pick.value, 0.3 * pick.confidence, f"zero curvature: {pick.reason} ({found})")
    reasons = "; ".join(f"{item.method}: {item.reason}" for item in (noise, stable, pick) if not item.found)
    return none_found("auto", f"no interior optimum ({reasons or found})")


def _shown(pick: Pick) -> str:
    return "none" if pick.value is None else f"{pick.value:.3g}"


def _agreement(first: float, second: float) -> float:
    """How well two values agree: 1 where equal, 1/e where one is e times the other."""
    return float(np.exp(-abs(np.log(first / second))))
