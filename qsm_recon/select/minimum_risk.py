"""Rules on what residuals tell of a map's error: its estimate (``risk``), and how much of it is left (``cone``)."""

from __future__ import annotations

import numpy as np

from qsm_recon.select.curve import Curve
from qsm_recon.select.extremum import crossings
from qsm_recon.select.pick import Pick, none_found
from qsm_recon.select.risk import MISFIT_OF_ERRORS

LEFT_OFF_CONE = 0.45
"""Misfit off the magic cone over that of the errors seen on it, at the best maps of the training data of
docs/selection.md (0.15 to 0.9)."""
FEWEST_RISKS = 3
RISES = 2
"""Weaker points in a row that must be worse before no more are asked for: along the sweeps of docs/selection.md the
estimated error has one valley."""


def minimum_risk(curve: Curve) -> Pick:
    """Weight with the smallest estimated error of the map; see :mod:`qsm_recon.select.risk`."""
    method = "risk"
    if curve.risk is None or np.count_nonzero(np.isfinite(curve.risk)) < FEWEST_RISKS:
        return none_found(method, "the error of too few maps is known; sweep more finely")
    known = np.flatnonzero(np.isfinite(curve.risk))
    t, risk = np.log(curve.parameter[known]), curve.risk[known]
    lowest = int(np.argmin(risk))
    if lowest in (0, len(risk) - 1):
        which = "weakest" if lowest == 0 else "strongest"
        return none_found(
            method, f"no interior optimum: the estimated error is lowest at the {which} weight it is known for"
        )
    near = slice(lowest - 1, lowest + 2)
    second, first, _ = np.polyfit(t[near] - t[lowest], risk[near], 2)
    shift = -first / (2 * second) if second > 0 else 0.0
    position = float(np.clip(t[lowest] + shift, t[lowest - 1], t[lowest + 1]))
    # The estimate of a square may come out below zero, which says that it is small, and not that there is none.
    size = f"{1e3 * float(np.sqrt(risk[lowest])):.3g} ppb" if risk[lowest] > 0 else "less than can be told"
    reason = f"the estimated error of the map is smallest ({size} where the field shows it)"
    return Pick(method, float(np.exp(position)), _agreement(curve, position), reason)


def is_settled(curve: Curve) -> bool:
    """Whether points at weaker weights than a curve has would change neither ``risk`` nor its confidence.

    The estimated error has risen over :data:`RISES` points beyond its valley, and residuals have passed both the value
    that ``cone`` looks for and the one at which the errors of the field are read off.

    Parameters
    ----------
    curve
        Points so far, of a sweep from strong to weak weights.
    """
    if curve.risk is None or curve.misfit_ratio is None:
        return False
    risk = curve.risk[np.isfinite(curve.risk)]
    if len(risk) < FEWEST_RISKS or not curve.misfit_ratio[0] < min(LEFT_OFF_CONE, MISFIT_OF_ERRORS):
        return False
    lowest = int(np.argmin(risk))
    falls = np.diff(risk[: lowest + 1]) < 0  # towards stronger weights
    inside = RISES <= lowest < len(risk) - 1
    return inside and bool(falls[:RISES].all()) and bool(curve.misfit_ratio[-1] > MISFIT_OF_ERRORS)


def residual_on_cone(curve: Curve) -> Pick:
    """Weight at which the residual off the magic cone is 0.45 times the error seen on it, in power."""
    method = "cone"
    if curve.misfit_ratio is None:
        return none_found(method, "the method does not tell what field it fitted")
    t = np.log(curve.parameter)
    excess = np.log(curve.misfit_ratio / LEFT_OFF_CONE)
    found = crossings(t, excess)
    if not found:
        which = "down" if excess[0] > 0 else "up"
        return none_found(
            method, f"no interior optimum: residuals off and on the cone do not meet; sweep further {which}"
        )
    return Pick(method, float(np.exp(found[-1])), 0.6, "what is left off the magic cone fits the error seen on it")


def _agreement(curve: Curve, position: float) -> float:
    """Confidence: high where the simpler rule lands near, or the error follows from spectra alone."""
    if curve.misfit_ratio is None:
        return 0.9
    other = residual_on_cone(curve)
    if other.value is None:
        return 0.5
    apart = abs(position - np.log(other.value))
    return float(np.interp(apart, [np.log(2), np.log(6)], [0.9, 0.5]))
