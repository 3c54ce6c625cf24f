"""The constant of a field, which means nothing: a scanner's centre frequency is set anew for every scan.

Every method takes it out before it begins, so that none depends on it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from qsm_recon.background import detection
from qsm_recon.operators.blocks import block_means
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.operators.padding import extent_of, padded_shape, voxels_in
from qsm_recon.problem import Problem
from qsm_recon.region import Region
from qsm_recon.result import Reconstruction
from qsm_recon.solvers import default_weights

COARSE = 0.0125
"""Edge of the voxels that it is found on, over the mask's longest extent: 2 mm for a head."""
PADDING = 1.0
"""Padding over that extent."""
VOLUMES = 3.1
"""Volumes of the padded coarse grid that this takes."""
BACKGROUND_FIELD = "background_field_ppm"
"""Image of a result that holds what a method took for the field of outside sources."""
OUTLYING = 10.0
"""Voxels that deviate from the median by more than this many median deviations have no say: wraps, strong sources."""

Number = TypeVar("Number", int, float)
Triple = tuple[Number, Number, Number]


_known: WeakKeyDictionary[Problem, float] = WeakKeyDictionary()


def constant_of_field(problem: Problem) -> float:
    """Find the constant in the field of a problem, in ppm; done once for each problem.

    Susceptibility of zero mean in an ellipsoid has a field of zero mean there, so that the mean of the field is the
    constant.  A mean χ₀ of the susceptibility that is not zero adds χ₀ D m, with m the mask, whose mean is not zero
    where the mask is no ellipsoid.  The slope of the field on D m tells χ₀; it is trusted as far as D m is more varied
    than it is large: in a slab D m is nearly constant, and what continues outside the image is not in it.  Adding a
    constant to the field adds it to the result.

    Parameters
    ----------
    problem
        The measurement.
    """
    found = _known.get(problem)
    if found is None:
        found = _known[problem] = _constant(problem)
    return found


def _constant(problem: Problem) -> float:
    # The image around the mask says nothing, and would be all of the work where the mask is a small part of it.
    problem = Region.around(problem, 0.0).cut_problem(problem.changed(echoes=None))
    mask, grid = problem.mask, problem.grid
    trusted = _trusted(problem)
    factors, sizes, padding = _coarse_geometry(problem)
    share = block_means(trusted.astype(np.float32), factors)
    field = block_means(np.where(trusted, problem.field_ppm, 0), factors, np.float64)
    operator = DipoleOperator(Grid(share.shape, sizes, grid.b0_direction), padding=padding)
    inside = share > 0
    weight = share[inside].astype(np.float64)
    weight /= weight.sum()
    level = operator.forward(block_means(mask.astype(np.float32), factors))[inside].astype(np.float64)
    measured = field[inside] / share[inside]
    mean, level_mean = float(weight @ measured), float(weight @ level)
    variance = float(weight @ (level - level_mean) ** 2)
    if variance == 0:
        return mean
    slope = float(weight @ ((level - level_mean) * (measured - mean))) / variance
    return mean - slope * level_mean * variance / (variance + level_mean**2)


def memory_of_constant(problem: Problem) -> float:
    """Estimate of the memory that :func:`constant_of_field` takes, in bytes; many solves of small images take less.

    Parameters
    ----------
    problem
        The measurement.
    """
    box = Region.around(problem, 0.0)
    factors, _, padding = _coarse_geometry(box.cut_problem(problem.changed(echoes=None)))
    nx, ny, nz = (math.ceil(n / factor) for n, factor in zip(box.shape, factors, strict=True))
    return 4 * VOLUMES * math.prod(padded_shape((nx, ny, nz), padding))


def _coarse_geometry(problem: Problem) -> tuple[Triple[int], Triple[float], Triple[int]]:
    """Voxels that are put together along each axis, the sizes of what they become, and the padding in these."""
    spacing = problem.grid.voxel_size_mm
    extent = extent_of(problem.mask, spacing)
    fx, fy, fz = (max(1, round(COARSE * extent / size)) for size in spacing)
    sizes = (spacing[0] * fx, spacing[1] * fy, spacing[2] * fz)
    px, py, pz = (voxels_in(PADDING * extent, size) for size in sizes)
    return (fx, fy, fz), sizes, (px, py, pz)


def _trusted(problem: Problem) -> NDArray[np.bool_]:
    """Where the field is measured, and not so far from its median that it may be off by whole turns of phase."""
    trusted = problem.measured
    values = problem.field_ppm[trusted]
    middle = float(np.median(values))
    values -= values.dtype.type(middle)
    limit = OUTLYING * float(np.median(np.abs(values, out=values)))
    return trusted & (np.abs(problem.field_ppm - middle) <= limit) if limit > 0 else trusted


def without_constant(problem: Problem) -> Problem:
    """Return a problem with the constant of its field taken out; ``field_offset_ppm`` tells it."""
    changed = problem.with_offset(constant_of_field(problem))
    for measured in (detection, default_weights):
        measured.carry_over(problem, changed)
    return changed


def with_constant(result: Reconstruction, constant_ppm: float) -> Reconstruction:
    """Return a result with the constant put back into the fields that it holds, and told in its details."""

    def whole(field: NDArray[np.floating]) -> NDArray[np.float32]:
        restored = np.zeros(field.shape, np.float32)
        return np.add(field, np.float32(constant_ppm), out=restored, where=result.mask, casting="same_kind")

    images = {name: whole(image) if name == BACKGROUND_FIELD else image for name, image in result.images.items()}
    fitted = None if result.fitted_field_ppm is None else whole(result.fitted_field_ppm)
    return replace(result, images=images, fitted_field_ppm=fitted).with_details(field_constant_ppm=constant_ppm)
