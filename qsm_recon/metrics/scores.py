"""What an evaluation returns, and how the challenge combined its two simulations."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from qsm_recon.errors import DataError

OFFICIAL_METRICS = (
    "nrmse",
    "dnrmse",
    "dnrmse_tissue",
    "dnrmse_blood",
    "dnrmse_dgm",
    "linear_slope_deviation",
    "calcification_streaking",
    "calcification_moment_deviation",
)
"""The eight metrics of the 2019 reconstruction challenge; lower is better for all of them."""

SIMILARITY_METRICS = ("ssim", "xsim", "hfen", "cc", "mi", "mad", "gxe")
"""The further metrics of the challenge's report; higher is better for ssim, xsim, cc and mi."""

HIGHER_IS_BETTER = ("ssim", "xsim", "cc", "mi")

METRIC_UNITS = {
    **dict.fromkeys(("nrmse", "dnrmse", "dnrmse_tissue", "dnrmse_blood", "dnrmse_dgm", "hfen", "mad", "gxe"), "%"),
    "calcification_moment_deviation": "ppm·voxels",
    "mi": "nats",
}
"""Units of the metrics that have one."""

CALCIFICATION_METRICS = ("calcification_streaking", "calcification_moment_deviation")


@dataclass(frozen=True)
class Scores:
    """The scores of one reconstruction.

    Parameters
    ----------
    values
        Metric name to value, in the fixed order of :data:`OFFICIAL_METRICS` and :data:`SIMILARITY_METRICS`;
        None where the metric could not be computed.
    reasons
        Why each of those could not.
    """

    values: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> str:
        """Return the values as a JSON object whose keys are the metric names; null where not computed."""
        return json.dumps(self.values, indent=2, allow_nan=False)

    def record(self, name: str, compute: Callable[[], float]) -> None:
        """Store ``compute()`` under ``name``, or None and the reason if the data do not allow it."""
        try:
            value = float(compute())
        except DataError as error:
            self.withhold(name, str(error))
            return
        if math.isfinite(value):
            self.values[name] = value
        else:
            self.withhold(name, "the result is not finite")

    def withhold(self, name: str, reason: str) -> None:
        """Store that a metric could not be computed."""
        self.values[name] = None
        self.reasons[name] = reason


def combine_cases(sim1: Scores, sim2: Scores) -> Scores:
    """Combine the scores of the two simulations into the final ones of a submission, as the challenge did.

    Every metric is the mean over both, but the two calcification metrics are those of the second simulation
    alone, because the first has no calcification.

    Parameters
    ----------
    sim1, sim2
        Scores of the same algorithm on the first and second simulation.

    Returns
    -------
    Scores
        A metric missing in a simulation it is taken from stays missing, with the reason.

    References
    ----------
    Bilgic B, Langkammer C, Marques JP, et al. QSM reconstruction challenge 2.0: design and report of results.
    Magn Reson Med 2021;86:1241-1255. doi:10.1002/mrm.28754
    """
    combined = Scores()
    for name in [name for name in (*OFFICIAL_METRICS, *SIMILARITY_METRICS) if name in sim1.values | sim2.values]:
        parts = {"SIM2": sim2} if name in CALCIFICATION_METRICS else {"SIM1": sim1, "SIM2": sim2}
        values = [value for case in parts.values() if (value := case.values.get(name)) is not None]
        if len(values) == len(parts):
            combined.values[name] = sum(values) / len(values)
            continue
        reasons = [
            f"{label}: {case.reasons.get(name, 'not computed')}"
            for label, case in parts.items()
            if case.values.get(name) is None
        ]
        combined.withhold(name, "; ".join(reasons))
    return combined
