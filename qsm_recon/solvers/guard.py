"""What of a problem's field does not suit a method, and what of a map cannot be susceptibility."""

from __future__ import annotations

import numpy as np

from qsm_recon.background.detection import background_test
from qsm_recon.problem import Problem
from qsm_recon.result import Reconstruction

LARGEST_SPREAD_PPM = 0.3
"""A third of the voxels of a map deviate from its median by more than this only where something is wrong: brain has
0.02 to 0.06, and an iron-laden liver next to fat about 0.3."""


def background_in(problem: Problem) -> str | None:
    """Say why a field is taken to be total; None where it is local.

    Parameters
    ----------
    problem
        The measurement; its ``field_kind`` decides, and a test only where that is unknown.
    """
    if problem.field_kind == "local":
        return None
    if problem.field_kind == "total":
        return "the field is a total field"
    found = background_test(problem)
    return found.text if found.kind == "total" else None


def impossible_range(result: Reconstruction) -> str | None:
    """Say why a map cannot be susceptibility; None where it can.

    Parameters
    ----------
    result
        What a solver returned.
    """
    values = result.susceptibility_ppm[result.mask]
    low, middle, high = (float(p) for p in np.percentile(values, (1, 50, 99)))
    spread = float(np.percentile(np.abs(values - middle), 67))
    if spread <= LARGEST_SPREAD_PPM:
        return None
    return (
        f"the map deviates from its median by more than {spread:.2g} ppm in a third of the mask (1 % to 99 %: "
        f"{low:.2g} to {high:.2g} ppm), too much for tissue"
    )
