"""Data weights: how much each voxel's field is trusted."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import ParameterError
from qsm_recon.problem import Problem

Weighting = Literal["auto", "uniform", "mask", "magnitude", "given"]
Normalisation = Literal["rms", "max", "none"]


def data_weight(
    problem: Problem, weighting: Weighting = "auto", normalisation: Normalisation = "rms"
) -> tuple[NDArray[np.floating], str]:
    """Data weight W of a problem.

    Parameters
    ----------
    problem
        The measurement.
    weighting
        ``"mask"``: one inside the mask, zero outside; ``"magnitude"``: the magnitude image inside the mask;
        ``"given"``: the problem's own weight inside the mask; ``"auto"``: the first there is of given, magnitude,
        mask.  ``"uniform"``: one everywhere, so that the field outside the mask, which is set to zero, counts as
        measured; that is what closed forms assume.
    normalisation
        ``"rms"`` makes the mean of W² over the mask 1, so that a regularisation weight keeps its meaning whatever
        the scale of the image; ``"max"`` makes the largest W 1, as the toolboxes do; ``"none"`` leaves it.

    Returns
    -------
    weight
        (nx, ny, nz), dimensionless.
    origin
        Which weighting it is, in words.

    Raises
    ------
    ParameterError
        If the weighting needs an image that the problem lacks.
    """
    origin: str = weighting
    if weighting == "auto":
        origin = "given" if problem.weight is not None else "magnitude" if problem.magnitude is not None else "mask"
    if origin == "uniform":
        return np.ones(problem.grid.shape, np.float32), origin
    if origin == "mask":
        weight = problem.mask.astype(np.float32)
    else:
        image = problem.weight if origin == "given" else problem.magnitude
        if image is None:
            needed = "a weight image (--weight)" if origin == "given" else "a magnitude image (--magnitude)"
            raise ParameterError(f"weighting={weighting} needs {needed}; give it or choose weighting=mask")
        weight = np.where(problem.mask, image, image.dtype.type(0))
    if normalisation == "rms":
        weight = weight / np.sqrt(np.mean(np.square(weight[problem.mask], dtype=np.float64)))
    elif normalisation == "max":
        weight = weight / weight.max()
    return weight, origin
