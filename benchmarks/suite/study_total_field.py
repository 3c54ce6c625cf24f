"""What a background in the field costs, and what preconditioning brings to total field inversion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from benchmarks.suite.job import Job
from benchmarks.suite.record import Row
from benchmarks.suite.runner import Plan, Planned
from benchmarks.suite.study import Study, StudyOptions, answered, at_once, extra
from benchmarks.suite.table import failures, markdown, number, seconds
from qsm_recon.background.outside_sources import project_onto_outside
from qsm_recon.datasets.case import Case
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.phantom import PhantomParameters, build_phantom
from qsm_recon.result import Reconstruction
from qsm_recon.terms.weights import data_weight

HERE = "benchmarks.suite.study_total_field"
DEPTHS_MM = (0, 4, 8, 12)
PADDING = 16
PROJECTION_ITERATIONS = 100
KINDS = (
    ("none", 1.0),
    ("circulant", 1.0),
    *((kind, p) for kind in ("binary", "r2star", "adaptive") for p in (5.0, 30.0)),
)
BUDGETS = (60, 120, 240, 480)
INNER = 60


def errors_below(case: Case, result: Reconstruction) -> dict[str, float]:
    """NRMSE (%) deeper in the mask than some depths, both maps demeaned there."""
    assert case.truth is not None
    spacing = case.problem.grid.voxel_size_mm
    depth = distance_transform_edt(np.pad(case.given_mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    found = {}
    for least in DEPTHS_MM:
        where = case.evaluation_mask & (depth > least)
        maps = (result.susceptibility_ppm, case.truth.susceptibility_ppm)
        a, b = (values[where].astype(np.float64) for values in maps)
        a, b = a - a.mean(), b - b.mean()
        found[f"error_below_{least}_mm"] = float(100 * np.linalg.norm(a - b) / np.linalg.norm(b))
    return found


def less_true_background(case: Case) -> Case:
    """The fitted total field less the true background: what a perfect removal would leave."""
    size = "full" if min(case.problem.grid.voxel_size_mm) < 1.5 else "reduced"
    phantom = build_phantom(PhantomParameters(case.name, size, background=True))
    return _with_field(case, case.problem.field_ppm - phantom.background_field_ppm)


def less_projection(case: Case) -> Case:
    """The fitted total field less its projection onto sources outside the mask."""
    problem = case.problem
    operator = DipoleOperator(problem.grid, padding=PADDING)
    weight = data_weight(problem, "noise")[0].astype(np.float32)
    field = np.where(problem.mask, problem.field_ppm, 0).astype(np.float32)
    found = project_onto_outside(operator, field, weight, problem.mask, PROJECTION_ITERATIONS, tolerance=0.0)
    return _with_field(case, field - found.background)


def _with_field(case: Case, field_ppm: NDArray) -> Case:
    inside = np.where(case.problem.mask, field_ppm, 0).astype(np.float32)
    return replace(case, problem=replace(case.problem, field_ppm=inside, field_kind="unknown"))


def _total_field(options: StudyOptions) -> Plan:
    local, total = options.phantom("sim2"), options.phantom("sim2?background=yes")
    noise = {"weighting": "noise"}
    choices: tuple[tuple[str, str, str, dict[str, Any], str], ...] = (
        ("local field", "medi", local, noise, ""),
        ("local field, sources outside allowed", "tfi", local, {**noise, "background": "present"}, ""),
        ("total field less the true background", "medi", total, noise, "less_true_background"),
        ("total field less its projection", "medi", total, noise, "less_projection"),
        ("total field", "tfi", total, {}, ""),
        ("total field, voxels that do not fit reweighted", "tfi", total, {"merit": True}, ""),
        ("total field, echoes", "mctfi", total, {}, ""),
    )
    planned = [
        Planned(
            Job.of(solver, case, "default", parameters, prepare=f"{HERE}:{prepare}" if prepare else "",
                   measure=f"{HERE}:errors_below"),
            {"field": label, "method": solver},
        )
        for label, solver, case, parameters, prepare in choices
    ]  # fmt: skip
    return at_once(planned, options.only)


def _total_field_table(rows: Sequence[Row]) -> str:
    head = ["data", "method", *("all" if depth == 0 else f"{depth} mm" for depth in DEPTHS_MM), "iterations", "CPU s"]
    lines = [
        [row.tags["field"], f"`{row.tags['method']}`", *(extra(row, f"error_below_{depth}_mm") for depth in DEPTHS_MM),
         str(row.record.iterations), seconds(row.record.cpu_s)]
        for row in answered(rows)
    ]  # fmt: skip
    return "\n\n".join(filter(None, [markdown(head, lines), failures(rows)]))


def _preconditioner(options: StudyOptions) -> Plan:
    case = options.phantom("sim2?background=yes")
    fixed = {"background": "present", "update_tolerance": 0.0, "cg_iterations": INNER, "cg_tolerance": 0.0}
    return at_once([
        Planned(
            Job.of("tfi", case, "default",
                   {**fixed, "preconditioner": kind, "strong": strong, "max_iterations": budget // INNER}),
            {"preconditioner": kind, "P": f"{strong:g}", "inner iterations": str(budget)},
        )
        for kind, strong in KINDS for budget in BUDGETS
    ])  # fmt: skip


def _preconditioner_table(rows: Sequence[Row]) -> str:
    found = {(row.tags["preconditioner"], row.tags["P"], row.tags["inner iterations"]): row for row in answered(rows)}
    lines = []
    for kind, strong in KINDS:
        cells = [found.get((kind, f"{strong:g}", str(budget))) for budget in BUDGETS]
        label = kind if kind in ("none", "circulant") else f"{kind}, P = {strong:g}"
        lines.append([label, *("–" if row is None else number(row.record.metrics.get("nrmse")) for row in cells)])
    head = ["NRMSE (%) after inner iterations", *map(str, BUDGETS)]
    return "\n\n".join(filter(None, [markdown(head, lines), failures(rows)]))


STUDIES = (
    Study("total_field", "what a background in the field costs", _total_field, _total_field_table),
    Study("preconditioner", "what preconditioning brings to tfi", _preconditioner, _preconditioner_table),
)
