"""What the zero point of a map does to its scores: most metrics take the means out, some do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.metrics import similarity
from qsm_recon.metrics.rc2 import Variant
from qsm_recon.metrics.scores import METRIC_UNITS, Scores

NEGLIGIBLE_PPM = 1e-4
"""A hundredth of what XSIM takes for a small susceptibility (the root of its C₁): its values are not seen to change."""
MATERIAL = {"xsim": 0.02, "mad": 2.0}
"""Scores that see the zero point over the whole mask, and the change from which on that is worth a remark."""


@dataclass(frozen=True)
class ZeroPoint:
    """Means of a map and its truth, and the scores that depend on their difference.

    Parameters
    ----------
    mean_ppm, truth_mean_ppm
        Means over the mask.
    as_given, aligned
        Scores of the map as it is, and shifted to the truth's mean; empty where the difference is negligible.
    """

    mean_ppm: float
    truth_mean_ppm: float
    as_given: dict[str, float]
    aligned: dict[str, float]

    @property
    def matters(self) -> bool:
        """Whether a score would change materially with equal means."""
        return any(abs(self.aligned[name] - value) > MATERIAL[name] for name, value in self.as_given.items())

    def describe(self) -> str:
        """Say what differs, and what it does, in one line."""
        given, aligned = (
            ", ".join(f"{name} {value:.3g}{_unit(name)}" for name, value in scores.items())
            for scores in (self.as_given, self.aligned)
        )
        return (
            f"its mean over the mask is {self.mean_ppm:.4g} ppm, the truth's {self.truth_mean_ppm:.4g} ppm; {given} "
            f"see that, with equal means they would be {aligned} (NRMSE takes the means out; docs/metrics.md)"
        )


def zero_point(
    susceptibility_ppm: NDArray,
    truth_ppm: NDArray,
    mask: NDArray[np.bool_],
    scores: Scores,
    *,
    variant: Variant = "rc2",
) -> ZeroPoint:
    """Compare the zero points of a map and its truth.

    Parameters
    ----------
    susceptibility_ppm, truth_ppm
        Maps in ppm, (x, y, z); what is not finite counts as zero.
    mask
        Where to evaluate.
    scores
        Of the map as it is, see :func:`qsm_recon.metrics.evaluate`.
    variant
        Definition they were computed by.
    """
    recon, truth = (np.where(np.isfinite(image), image, 0.0) for image in (susceptibility_ppm, truth_ppm))
    mean, expected = float(recon[mask].mean()), float(truth[mask].mean())
    known = {name: value for name in MATERIAL if (value := scores.values.get(name)) is not None}
    if not known or abs(mean - expected) < NEGLIGIBLE_PPM:
        return ZeroPoint(mean, expected, {}, {})
    shifted = recon + (expected - mean)
    reference: similarity.WindowedReference = "community" if variant == "community" else "masked"
    compute = {
        "xsim": lambda: similarity.xsim(shifted, truth, mask, reference=reference),
        "mad": lambda: similarity.mad(shifted, truth, mask),
    }
    return ZeroPoint(mean, expected, known, {name: compute[name]() for name in known})


def _unit(name: str) -> str:
    return f" {METRIC_UNITS[name]}" if name in METRIC_UNITS else ""
