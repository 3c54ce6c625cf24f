"""All rules by name."""

from __future__ import annotations

from collections.abc import Callable

from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.select.automatic import automatic
from qsm_recon.select.curve import Curve
from qsm_recon.select.discrepancy import discrepancy
from qsm_recon.select.frequency import frequency_equalisation
from qsm_recon.select.gcv import generalised_cross_validation
from qsm_recon.select.lcurve import maximum_curvature, zero_curvature
from qsm_recon.select.minimum_risk import minimum_risk, residual_on_cone
from qsm_recon.select.pick import Pick
from qsm_recon.select.stability import quasi_optimality
from qsm_recon.select.ucurve import u_curve

CHOOSERS: dict[str, Callable[[Curve], Pick]] = {
    "auto": automatic,
    "risk": minimum_risk,
    "cone": residual_on_cone,
    "lcurve": maximum_curvature,
    "zero-curvature": zero_curvature,
    "ucurve": u_curve,
    "frequency": frequency_equalisation,
    "discrepancy": discrepancy,
    "stability": quasi_optimality,
    "gcv": generalised_cross_validation,
}
"""Rules that pick a value on a :class:`~qsm_recon.select.curve.Curve`."""


def choose(curve: Curve, method: str = "auto") -> Pick:
    """Apply one rule.

    Raises
    ------
    ParameterError
        If there is no rule of that name.
    """
    return rule(method)(curve)


def rule(method: str) -> Callable[[Curve], Pick]:
    """Return the rule of a name.

    Raises
    ------
    ParameterError
        If there is none.
    """
    if method not in CHOOSERS:
        raise ParameterError(f"selection '{method}' is unknown{did_you_mean(method, CHOOSERS)}")
    return CHOOSERS[method]


def choose_all(curve: Curve) -> list[Pick]:
    """Apply every rule."""
    return [apply(curve) for apply in CHOOSERS.values()]
