"""Scores of a map against the truth of a case."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.datasets.case import Case
from qsm_recon.metrics.evaluation import evaluate
from qsm_recon.metrics.scores import Scores


def evaluate_case(
    case: Case, susceptibility_ppm: NDArray[np.floating], covered: NDArray[np.bool_], *, similarity: bool = True
) -> Scores | None:
    """Compare a map with the truth of a case; None where none is known.

    Parameters
    ----------
    case
        The data set.
    susceptibility_ppm
        (nx, ny, nz) the map.
    covered
        (nx, ny, nz) the voxels that it covers; see :meth:`qsm_recon.datasets.case.Case.compared`.
    similarity
        Whether to compute the further metrics too.

    Raises
    ------
    DataError
        See :func:`qsm_recon.metrics.evaluate`.
    """
    truth = case.truth
    if truth is None:
        return None
    return evaluate(
        susceptibility_ppm,
        truth.susceptibility_ppm,
        case.compared(covered),
        truth.labels,
        calcification_moment=truth.calcification_moment,
        similarity=similarity,
    )
