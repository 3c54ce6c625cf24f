"""What every rule that chooses without the truth loses against the best weight."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.suite.cases import PHANTOM, name_of
from benchmarks.suite.job import Job
from benchmarks.suite.record import Record, Row
from benchmarks.suite.runner import Known, Plan, Planned
from benchmarks.suite.study import Study, StudyOptions, answered
from benchmarks.suite.table import failures, markdown, number
from qsm_recon.select.choosers import CHOOSERS

METHODS = ("tkd", "tikhonov", "tv", "fansi", "wl1l2", "medi", "l1qsm")
CASES = tuple(f"{simulation}?snr={snr}" for simulation in ("sim1", "sim2") for snr in (100, 1000))
# `auto` was decided on these: other heads, other noise, other signal-to-noise ratios.
TRAINING = (
    "sim1?seed=7&snr=200",
    "sim2?seed=7&snr=50",
    "sim2?seed=9&snr=500",
    "sim1?seed=11&snr=1500",
    "sim1?seed=23&snr=50",
    "sim2?seed=22&snr=1000",
    "sim2?seed=24&snr=3000",
)


def _plan(options: StudyOptions, names: Sequence[str]) -> Plan:
    cases = [options.data] if options.data else [f"{PHANTOM}{name}&size={options.size}" for name in names]
    methods = [name for name in METHODS if options.only is None or name in options.only]

    def plan(known: Known) -> list[Planned]:
        planned = []
        for method in methods:
            for case in cases:
                tags = {"method": method, "data": name_of(case)}
                auto = Job.of(method, case, "auto")
                planned += [Planned(Job.of(method, case, by), {**tags, "weight by": by}) for by in ("truth", "default")]
                planned.append(Planned(auto, {**tags, "weight by": "auto"}))
                planned += [
                    Planned(Job.of(method, case, value), {**tags, "weight by": rule})
                    for rule, value in _picked(known(auto)).items()
                ]
        return planned

    return plan


def _picked(record: Record | None) -> dict[str, float]:
    """Weights of the rules other than auto, from the sweep that auto made."""
    picks = {} if record is None else record.choice.get("picks", {})
    return {rule: pick["value"] for rule, pick in picks.items() if rule != "auto" and pick["value"] is not None}


def _selection_table(rows: Sequence[Row]) -> str:
    groups: dict[tuple[str, str], dict[str, Record]] = {}
    for row in answered(rows):
        groups.setdefault((row.tags["method"], row.tags["data"]), {})[row.tags["weight by"]] = row.record
    lines = []
    for (method, data), records in groups.items():
        errors = {by: error for by, record in records.items() if (error := record.metrics.get("nrmse")) is not None}
        if not errors:
            continue
        best = min(errors, key=errors.__getitem__)
        losses = [number(errors[by] - errors[best]) if by in errors else "–" for by in ("default", *CHOOSERS)]
        lines.append([f"`{method}`", data, number(errors[best]), f"{records[best].weight:.2g}", *losses])
    head = ["method", "data", "best NRMSE", "at", "default loses", *CHOOSERS]
    note = "Losses in percentage points of NRMSE; a dash where a rule finds nothing."
    return "\n\n".join(filter(None, [markdown(head, lines), note, failures(rows)]))


STUDIES = (
    Study(
        "selection", "what every rule loses against the best weight",
        lambda options: _plan(options, CASES), _selection_table,
    ),
    Study(
        "selection_training", "the same on phantoms that auto was decided on",
        lambda options: _plan(options, TRAINING), _selection_table,
    ),
)  # fmt: skip
