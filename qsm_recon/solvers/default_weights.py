"""Weights that follow the data: one formula for every method, from the errors and the steepness of its field.

With E the local field's error per voxel, g the gradient of the susceptibility (both from
:func:`qsm_recon.terms.field_scale.field_scale`) and h the voxel's edge, total variation gets

    alpha = 0.18 E h · c / (c + 0.27),   c = E / (g h).

It has the unit of alpha, ppm·mm, and so leaves the map alone where units, field strength or voxel size are only
renamed.  For small errors it is proportional to E² / g, what a maximum a posteriori estimate takes for steps of typical
size g; for large ones to E alone.  The two numbers were decided on the training data of docs/selection.md.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from qsm_recon.background.base import without_background
from qsm_recon.background.detection import kind_of_field
from qsm_recon.problem import Problem
from qsm_recon.result import heed
from qsm_recon.terms.field_scale import FieldScale, field_scale

SIZE, TURNING_POINT = 0.18, 0.27
ABSOLUTE_FACTOR = 0.75
"""Weight for an l1 fidelity over that for a squared one in units of the error."""
EDGE_FACTOR = 1.4
"""On the weight where edges are not smoothed."""
TWO_STEP_FACTOR = 8.0
"""On the weight where the fidelity is one of susceptibility."""
SMOOTHING = 0.05
"""Gradient at which the total variation is rounded off, over the gradient of the susceptibility."""

SYMBOLS = "c = E / (g h), with E the error of the field per voxel, g the susceptibility's gradient, h the voxel's edge"
TOTAL_VARIATION_RULE = f"{SIZE:g} E h c / (c + {TURNING_POINT:g}), {SYMBOLS}"
ABSOLUTE_RULE = f"{ABSOLUTE_FACTOR * SIZE:.3g} h c / (c + {TURNING_POINT:g}), {SYMBOLS}"
EDGE_RULE = f"{EDGE_FACTOR * SIZE:.3g} E h c / (c + {TURNING_POINT:g}), {SYMBOLS} ({SIZE:g} without edges)"
TWO_STEP_RULE = f"{TWO_STEP_FACTOR * SIZE:.3g} E h c / (c + {TURNING_POINT:g}), {SYMBOLS}"
_known: WeakKeyDictionary[Problem, FieldScale] = WeakKeyDictionary()


def scale_of(problem: Problem) -> FieldScale:
    """Scale of a problem's field less its background, measured once."""
    if problem not in _known:
        _known[problem] = field_scale(local_problem(problem))
    return _known[problem]


def carry_over(problem: Problem, changed: Problem) -> None:
    """Let what is known of a problem hold for one that differs by a constant of the field, which means nothing."""
    if problem in _known:
        _known[changed] = _known[problem]


def local_problem(problem: Problem) -> Problem:
    """The problem with a local field: a steep background that the mask cuts off would pass for errors."""
    if kind_of_field(problem) == "local":
        return problem
    from qsm_recon.background.projection import ProjectionOntoDipoleFields

    # Only fine scales count.
    quick = ProjectionOntoDipoleFields(inside=0.0, tolerance=1e-2, max_iterations=30)
    changed, local = without_background(problem, quick)
    heed(local.stop_reason)
    return changed


def described_scale(problem: Problem) -> dict[str, float]:
    """Three numbers that the formulas take, for reports."""
    scale = scale_of(problem)
    return {
        "field_error_ppm": scale.error_ppm,
        "susceptibility_gradient_ppm_per_mm": scale.gradient_ppm_per_mm,
        "voxel_edge_mm": scale.voxel_mm,
    }


def total_variation_weight(problem: Problem) -> float:
    """Weight alpha of the total variation beside ½‖W (D χ - φ)‖², in ppm·mm."""
    scale = scale_of(problem)
    coarse = scale.coarseness
    return SIZE * scale.error_ppm * scale.voxel_mm * coarse / (coarse + TURNING_POINT)


def absolute_weight(problem: Problem) -> float:
    """Weight alpha of the total variation beside ‖W (D χ - φ)‖₁, in mm."""
    return ABSOLUTE_FACTOR * total_variation_weight(problem) / scale_of(problem).error_ppm


def squared_gradient_weight(problem: Problem) -> float:
    """Weight beta of ‖∇χ‖² beside ‖D χ - φ‖², in mm²: Wiener's for one gradient at all frequencies."""
    scale = scale_of(problem)
    return (scale.error_ppm / scale.gradient_ppm_per_mm) ** 2


def squared_susceptibility_weight(problem: Problem) -> float:
    """Weight beta of ‖χ‖² beside ‖D χ - φ‖², dimensionless: Wiener's for white spectra."""
    scale = scale_of(problem)
    return (scale.error_ppm / scale.susceptibility_ppm) ** 2


def rounding(problem: Problem) -> float:
    """Gradient at which the total variation is rounded off, in ppm/mm."""
    return SMOOTHING * scale_of(problem).gradient_ppm_per_mm
