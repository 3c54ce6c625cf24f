"""The default rule (``auto``)."""

from __future__ import annotations

from collections.abc import Callable

from qsm_recon.select.curve import Curve
from qsm_recon.select.gcv import generalised_cross_validation
from qsm_recon.select.lcurve import zero_curvature
from qsm_recon.select.minimum_risk import minimum_risk, residual_on_cone
from qsm_recon.select.pick import Pick, none_found
from qsm_recon.select.stability import quasi_optimality

STABILITY_FACTOR = 2.5
"""On the most stable weight, which is always somewhat too small."""
RULES: tuple[tuple[Callable[[Curve], Pick], float, float], ...] = (
    (minimum_risk, 1.0, 1.0),
    (residual_on_cone, 1.0, 0.7),
    (generalised_cross_validation, 1.0, 0.7),
    (quasi_optimality, STABILITY_FACTOR, 0.3),
    (zero_curvature, 1.0, 0.3),
)
"""Rules in the order they are asked, the factor on their pick, and that on their confidence."""


def automatic(curve: Curve) -> Pick:
    """Pick of the first rule that finds one: the smallest estimated error, else what is left off the magic cone.

    How that was decided, and on which data, is in docs/selection.md.
    """
    tried: list[Pick] = []
    for rule, factor, trust in RULES:
        pick = rule(curve)
        if pick.value is not None and factor * pick.value <= curve.parameter[-1]:
            times = "" if factor == 1 else f"{factor:g} times "
            why = f" ({tried[0].method}: {tried[0].reason})" if tried else ""
            return Pick(
                "auto", float(factor * pick.value), trust * pick.confidence, f"{times}{pick.method}: {pick.reason}{why}"
            )
        tried.append(pick)
    return none_found("auto", f"no interior optimum ({'; '.join(f'{pick.method}: {pick.reason}' for pick in tried)})")
