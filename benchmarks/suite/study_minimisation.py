"""How near to the minimum methods end, and what that takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.suite.job import Job
from benchmarks.suite.record import Row
from benchmarks.suite.runner import Plan, Planned
from benchmarks.suite.study import Study, StudyOptions, answered, at_once, extra, parameters_of
from benchmarks.suite.table import failures, markdown, metric, seconds

ITERATIONS = {"wl1": 1200, "l1qsm": 1200, "wh-qsm": 900, "wh-nlqsm": 900}
USUAL_ITERATIONS = 400
CONVERGING = ("tv", "fansi", "wl1l2", "tgv", "fansi-tgv", "wl1", "l1qsm", "wh-qsm", "wh-nlqsm")
LONG: dict[str, Any] = {"tolerance": 0.0, "residual_tolerance": 0.0}
INNER: tuple[dict[str, Any], ...] = (
    {},
    {"cg_tolerance": 0.3},
    {"cg_tolerance": 0.03, "cg_iterations": 60},
    {"cg_tolerance": 0.01, "cg_iterations": 100},
    {"cg_tolerance": 0.01, "cg_iterations": 100, "update_tolerance": 0.003, "max_iterations": 30},
    {"update_tolerance": 0.1},
    {"update_tolerance": 0.01},
    {"circulant": False},
    {"cg_tolerance": 0.01, "cg_iterations": 100, "circulant": False},
)
MODELS: tuple[dict[str, Any], ...] = tuple(
    {"model": model, **more}
    for model in ("full", "reduced")
    for more in ({}, {"max_iterations": 6, "update_tolerance": 0.0})
)
INNER_METRICS = ("nrmse", "dnrmse_blood", "dnrmse_dgm", "calcification_streaking", "calcification_moment_deviation")


def _convergence(options: StudyOptions) -> Plan:
    case = options.phantom("sim2")
    planned = []
    for solver in CONVERGING:
        long = {**LONG, "max_iterations": ITERATIONS.get(solver, USUAL_ITERATIONS)}
        planned += [
            Planned(Job.of(solver, case), {"method": solver, "run": "default"}),
            Planned(Job.of(solver, case, parameters=long), {"method": solver, "run": "long"}),
        ]
    return at_once(planned, options.only)


def _convergence_table(rows: Sequence[Row]) -> str:
    runs = {(row.tags["method"], row.record.job["case"], row.tags["run"]): row.record for row in answered(rows)}
    lines = []
    for (method, case, run), long in runs.items():
        default = runs.get((method, case, "default"))
        if run != "long" or default is None:
            continue
        lowest = long.extras["lowest_objective"]
        above = 100 * (default.extras["objective"] / lowest - 1)
        lines.append(
            [f"`{method}`", case.removeprefix("phantom:"), str(default.iterations), str(long.iterations),
             f"{above:.3f}", f"{100 * (long.extras['objective_before'] / lowest - 1):.4f}", seconds(default.cpu_s)]
        )  # fmt: skip
    head = [
        "method",
        "data",
        "iterations",
        "of the long run",
        "% above the long run",
        "% its last fifth brought",
        "CPU s",
    ]
    return "\n\n".join(filter(None, [markdown(head, lines), failures(rows)]))


def _inner_accuracy(options: StudyOptions) -> Plan:
    case = options.phantom("sim2")
    choices = [("medi", parameters) for parameters in INNER] + [("mctfi", parameters) for parameters in MODELS]
    planned = [Planned(Job.of(solver, case, parameters=p), {"method": solver}) for solver, p in choices]
    return at_once(planned, options.only)


def _inner_accuracy_table(rows: Sequence[Row]) -> str:
    head = [
        "method",
        "parameters",
        "objective",
        "outer",
        "inner",
        "CPU s",
        "NRMSE",
        "blood",
        "deep grey",
        "streaking",
        "moment",
    ]
    lines = [
        [f"`{row.tags['method']}`", parameters_of(row), extra(row, "objective", 4), str(row.record.iterations),
         extra(row, "inner_iterations", 0), seconds(row.record.cpu_s),
         *(metric(name, row.record.metrics.get(name)) for name in INNER_METRICS)]
        for row in answered(rows)
    ]  # fmt: skip
    return "\n\n".join(filter(None, [markdown(head, lines), failures(rows)]))


STUDIES = (
    Study("convergence", "the objective at default settings against a long run", _convergence, _convergence_table),
    Study("inner_accuracy", "how exactly inner systems need solving", _inner_accuracy, _inner_accuracy_table),
)
