"""Table and figure of an ablation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.suite.factors import Factor
from benchmarks.suite.record import Record, Row
from benchmarks.suite.table import SHORT, markdown, metric_cells, number, seconds
from qsm_recon.metrics import OFFICIAL_METRICS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FURTHER = ("xsim", "hfen")
PANELS = {
    "nrmse": "NRMSE (%)", "dnrmse_blood": "dNRMSE, blood (%)", "dnrmse_dgm": "dNRMSE, deep grey (%)",
    "calcification_streaking": "streaking (1)", "xsim": "XSIM (1)", "hfen": "HFEN (%)", "cc": "CC (1)",
    "gxe": "GXE (%)",
}  # fmt: skip
"""What figures show, the first five that could be computed, and the seconds."""
SHOWN = 5


def ablation_table(rows: Sequence[Row]) -> str:
    """One line a level, failed ones with their reason."""
    if not rows:
        return "Nothing is stored."
    tags = rows[0].tags
    head = [
        tags["factor"],
        *(SHORT[name] for name in (*OFFICIAL_METRICS, *FURTHER)),
        "weight",
        "iterations",
        "CPU s",
        "GiB",
    ]
    lines, failed = [], []
    for row in rows:
        record = row.record
        if record.failed:
            failed.append(f"{row.tags['level']}: no result, {record.failed}.")
            continue
        mark = "" if record.converged else "*"
        lines.append(
            [row.tags["level"], *metric_cells(record.metrics, (*OFFICIAL_METRICS, *FURTHER)),
             f"{record.weight:.2g}", f"{record.iterations}{mark}", seconds(record.cpu_s), number(record.peak_gib, 2)]
        )  # fmt: skip
    title = f"**{tags['factor']}**: `{tags['base']}` on {tags['data']}, weight by {tags['weight by']}"
    return "\n\n".join([title, markdown(head, lines), *failed])


def ablation_figure(rows: Sequence[Row], factor: Factor) -> Figure:
    """Up to six measures over the levels: lines where these are numbers, bars where they are words."""
    from matplotlib.figure import Figure

    shown = [row for row in rows if not row.record.failed]
    known = [name for name in PANELS if any(row.record.metrics.get(name) is not None for row in shown)][:SHOWN]
    panels = {**{name: PANELS[name] for name in known}, "cpu_s": "CPU seconds"}
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    columns = (len(panels) + 1) // 2
    axes = figure.subplots(2, columns, squeeze=False).ravel()
    for axis in axes[len(panels) :]:
        axis.axis("off")
    for axis, (name, label) in zip(axes, panels.items(), strict=False):
        pairs = [(row.tags["level"], value) for row in shown if (value := _value(row.record, name)) is not None]
        levels, values = [level for level, _ in pairs], [value for _, value in pairs]
        if factor.axis:
            axis.plot([float(level) for level in levels], values, marker="o", color="#0072b2")
            axis.set_xlabel(factor.axis)
            if factor.name == "snr":
                axis.set_xscale("log")
        else:
            axis.barh(levels, values, color="#0072b2")
            axis.invert_yaxis()
            axis.tick_params(axis="y", labelsize=7)
        (axis.set_ylabel if factor.axis else axis.set_xlabel)(label)
    tags = rows[0].tags
    figure.suptitle(f"{factor.name}: {tags['base']} on {tags['data']}, weight by {tags['weight by']}", fontsize=10)
    return figure


def _value(record: Record, name: str) -> float | None:
    return record.cpu_s if name == "cpu_s" else record.metrics.get(name)
