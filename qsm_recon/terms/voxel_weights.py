"""Regularisation weights that let the susceptibility change where another image does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import ParameterError
from qsm_recon.operators.gradient import forward_difference
from qsm_recon.problem import Problem
from qsm_recon.terms.morphology import edge_mask

SMALLEST_WEIGHT = 0.05


def regularisation_voxel_weights(problem: Problem, kind: str) -> NDArray[np.float32] | None:
    """Factors on the components of the gradient, one in smooth regions and less at edges of an image.

    Parameters
    ----------
    problem
        The measurement.
    kind
        ``"none"``, ``"magnitude"`` or ``"r2star"``: the image whose edges count.  ``"edges"``: the edges of the
        magnitude image are not smoothed at all, and everything else is, as MEDI does with its default share of edges.

    Returns
    -------
    ndarray or None
        (3, nx, ny, nz) factors m / max(|∂I|, m), with m the mean of |∂I| between voxels of the mask, not below 0.05,
        and one where either end of the difference is outside the mask; None for ``"none"``.  For ``"edges"`` they are
        0 or 1, and 0 across most of the mask's surface.  They do not depend on the scale of the image.

    Raises
    ------
    ParameterError
        If the problem lacks the image.

    Notes
    -----
    The FANSI toolbox weights with the inverse of the magnitude's gradient in the same way; the winner of the 2019
    challenge used R2* (Bilgic et al., MRM 2021, doi 10.1002/mrm.28754).  MEDI: see
    :func:`qsm_recon.terms.morphology.edge_mask`.
    """
    if kind == "none":
        return None
    image = problem.r2star_per_s if kind == "r2star" else problem.magnitude
    if image is None:
        needed = "R2*, which multi-echo data give" if kind == "r2star" else "a magnitude image (--magnitude)"
        raise ParameterError(f"regularisation_weighting={kind} needs {needed}; give it or choose none")
    if kind == "edges":
        return edge_mask(image, problem.mask, problem.grid.voxel_size_mm).astype(np.float32)
    inside = np.where(problem.mask, image, 0).astype(np.float32)
    steps = np.abs(forward_difference(inside, problem.grid.voxel_size_mm))
    # Across the mask's surface the image is known at one end only, which says nothing of an edge.
    known = np.stack([problem.mask & np.roll(problem.mask, -1, axis) for axis in range(3)])
    typical = float(steps[known].mean(dtype=np.float64)) if known.any() else 0.0
    if typical == 0:
        return None
    weights = np.float32(typical) / np.maximum(steps, np.float32(typical))
    np.maximum(weights, np.float32(SMALLEST_WEIGHT), out=weights)
    weights[~known] = 1
    return weights
