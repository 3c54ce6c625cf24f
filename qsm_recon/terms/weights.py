"""Data weights: how much each voxel's field is trusted."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.problem import Problem

Weighting = Literal["auto", "uniform", "mask", "magnitude", "magnitude-squared", "noise", "given"]
Normalisation = Literal["rms", "max", "none"]
WEIGHTINGS: tuple[str, ...] = get_args(Weighting)
NORMALISATIONS: tuple[str, ...] = get_args(Normalisation)


def data_weight(
    problem: Problem, weighting: str = "auto", normalisation: str = "rms"
) -> tuple[NDArray[np.floating], str]:
    """Data weight W of a problem.

    Parameters
    ----------
    problem
        The measurement.
    weighting
        ``"mask"``: one inside the mask, zero outside; ``"magnitude"``: the magnitude image inside the mask;
        ``"magnitude-squared"``: its square; ``"noise"``: the inverse of the field's standard deviation, zero where that
        is 0, which stands for unknown; ``"given"``: the problem's own weight; ``"auto"``: the first there is of given,
        magnitude, mask.  ``"uniform"``: one everywhere, so that the field outside the mask, which is set to zero,
        counts as measured; that is what closed forms assume.  All but the given weight and ``"uniform"`` are
        multiplied by the problem's reliability.
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
        If the weighting needs an image that the problem lacks, or is unknown.
    """
    for name, value, known in (
        ("weighting", weighting, WEIGHTINGS),
        ("weight_normalisation", normalisation, NORMALISATIONS),
    ):
        if value not in known:
            raise ParameterError(f"{name}: '{value}' is not accepted{did_you_mean(value, known)}")
    origin = weighting
    if weighting == "auto":
        origin = "given" if problem.weight is not None else "magnitude" if problem.magnitude is not None else "mask"
    if origin == "uniform":
        return np.ones(problem.grid.shape, np.float32), origin
    weight = problem.mask.astype(np.float32) if origin == "mask" else _weight_image(problem, origin)
    if problem.reliability is not None and origin != "given":
        weight = weight * problem.reliability
    if normalisation == "rms":
        weight = weight / math.sqrt(np.mean(np.square(weight[problem.mask], dtype=np.float64)))
    elif normalisation == "max":
        weight = weight / weight.max()
    return weight, origin


def fidelity_of_noise(problem: Problem, weight: NDArray[np.floating], power: int = 2) -> float | None:
    """Fidelity that Gaussian noise of the field alone would have: ½ Σ W² σ² (power 2) or Σ W σ √(2/π) (power 1).

    None where the noise is unknown.
    """
    if problem.field_noise_ppm is None:
        return None
    noise = (weight * problem.field_noise_ppm)[problem.mask].astype(np.float64)
    return float(0.5 * np.square(noise).sum() if power == 2 else np.sqrt(2 / np.pi) * noise.sum())


def _weight_image(problem: Problem, origin: str) -> NDArray[np.floating]:
    """Weight from an image of the problem, zero outside the mask."""
    image, missing = {
        "given": (problem.weight, "a weight image (--weight)"),
        "noise": (problem.field_noise_ppm, "a noise map, which a multi-echo fit gives (--phase and --magnitude)"),
    }.get(origin, (problem.magnitude, "a magnitude image (--magnitude)"))
    if image is None:
        raise ParameterError(f"weighting={origin} needs {missing}; give it or choose weighting=mask")
    if origin == "noise":
        known = problem.mask & (image > 0)
        return np.divide(1, image, out=np.zeros_like(image), where=known)
    weight = np.where(problem.mask, image, image.dtype.type(0))
    return weight * weight if origin == "magnitude-squared" else weight
