"""Error against COSMOS on the 2016 challenge's data; the reference is not exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.suite.job import Job
from benchmarks.suite.record import Row
from benchmarks.suite.runner import Plan, Planned
from benchmarks.suite.study import Study, StudyOptions, answered, at_once, label_of
from benchmarks.suite.table import failures, markdown, metric, number, seconds

# Method, parameters, and the published NRMSE and XSIM (the community's leaderboard).
ROWS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("tkd", {}, ""),
    ("tsvd", {}, ""),
    ("tikhonov", {"regulariser": "identity"}, ""),
    ("tikhonov", {"regulariser": "gradient"}, ""),
    ("tv", {"weighting": "uniform"}, "TV 71.4/0.471"),
    ("tv", {"weighting": "magnitude"}, "TV 71.4/0.471"),
    ("fansi", {"weighting": "uniform"}, "FANSI 73.7/0.436"),
    ("fansi", {"weighting": "magnitude"}, "FANSI 73.7/0.436"),
    ("wl1l2", {"weighting": "uniform"}, "HD-QSM 73.7/0.423"),
    ("rts", {}, "RTS 71.7/0.474"),
    ("ndi", {}, "NDI 133/0.241"),
    ("medi", {}, "MEDI 60.0/0.531"),
    ("fansi-tgv", {"weighting": "uniform"}, "FANSI-TGV 70.9/0.447"),
    ("tgv", {"weighting": "uniform"}, ""),
    ("wl1", {"weighting": "uniform"}, ""),
    ("l1qsm", {"weighting": "uniform"}, "L1-QSM 73.7/0.449"),
    ("wh-qsm", {}, ""),
    ("wh-nlqsm", {}, "WH-QSM 82.7/0.442"),
)
# One weight by NRMSE and XSIM together, found with the reference in hand, as the published best was; and the default.
BEST = "best of a classical method: MEDI 60.0/0.531"
SETTINGS: tuple[tuple[str, str | float, str], ...] = (("rts", 2e-3, BEST), ("rts", "default", BEST))
# Weighting and edge fraction of medi; magnitudes are worse throughout, and are there once to show it.
EDGES = (("uniform", 0.0), ("uniform", 0.05), ("uniform", 0.1), ("uniform", 0.3), ("magnitude", 0.05))
ALPHAS = (3.5e-4, 5e-4, 7e-4, 1e-3, 1.4e-3)


def _rc1(options: StudyOptions) -> Plan:
    case = options.required("rc1:DIR")
    planned = [
        Planned(Job.of(solver, case, by, parameters), {"method": solver, "weight by": by, "published": published})
        for solver, parameters, published in ROWS for by in ("truth", "auto")
    ]  # fmt: skip
    planned += [
        Planned(Job.of(solver, case, weight), {"method": solver, "weight by": str(weight), "published": published})
        for solver, weight, published in SETTINGS
    ]
    return at_once(planned, options.only)


def _rc1_table(rows: Sequence[Row]) -> str:
    head = [
        "method",
        "weight by",
        "main parameter",
        "NRMSE",
        "XSIM",
        "HFEN",
        "iterations",
        "CPU s",
        "published NRMSE/XSIM",
    ]
    lines = [
        [label_of(row), row.tags["weight by"], f"{row.record.weight:.3g}",
         *(metric(name, row.record.metrics.get(name)) for name in ("nrmse", "xsim", "hfen")),
         str(row.record.iterations), seconds(row.record.cpu_s), row.tags["published"] or "–"]
        for row in sorted(answered(rows), key=lambda row: row.record.metrics.get("nrmse") or 0.0)
    ]  # fmt: skip
    return "\n\n".join(filter(None, [markdown(head, lines), failures(rows)]))


def _morphology(options: StudyOptions) -> Plan:
    case = options.required("rc1:DIR")
    return at_once([
        Planned(
            Job.of("medi", case, alpha, {"weighting": weighting, "edge_fraction": fraction}),
            {"weighting": weighting, "edge fraction": f"{fraction:g}", "alpha": f"{alpha:g}"},
        )
        for weighting, fraction in EDGES for alpha in ALPHAS
    ])  # fmt: skip


def _morphology_table(rows: Sequence[Row]) -> str:
    head = ["weighting", "edge fraction", "alpha", "NRMSE", "XSIM", "inner iterations", "CPU s"]
    lines = [
        [row.tags["weighting"], row.tags["edge fraction"], row.tags["alpha"],
         *(metric(name, row.record.metrics.get(name)) for name in ("nrmse", "xsim")),
         number(row.record.extras.get("inner_iterations"), 0), seconds(row.record.cpu_s)]
        for row in answered(rows)
    ]  # fmt: skip
    return "\n\n".join(filter(None, [markdown(head, lines), failures(rows)]))


STUDIES = (
    Study("rc1", "every method against COSMOS, with the best weight and with that of auto", _rc1, _rc1_table),
    Study("morphology_rc1", "medi against COSMOS over weights and edges", _morphology, _morphology_table),
)
