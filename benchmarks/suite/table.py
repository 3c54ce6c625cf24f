"""The one printer of tables: Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.suite.record import METRICS, Row

SHORT = {
    "nrmse": "NRMSE", "dnrmse": "dNRMSE", "dnrmse_tissue": "tissue", "dnrmse_blood": "blood", "dnrmse_dgm": "deep grey",
    "linear_slope_deviation": "slope", "calcification_streaking": "streaking",
    "calcification_moment_deviation": "moment", "ssim": "SSIM", "xsim": "XSIM", "hfen": "HFEN", "cc": "CC", "mi": "MI",
    "mad": "MAD", "gxe": "GXE",
}  # fmt: skip
"""Headings of the metrics' columns; NRMSE to deep grey, HFEN, MAD and GXE in %, moment in ppm × voxels."""
DIGITS = {
    "linear_slope_deviation": 3, "calcification_streaking": 3, "calcification_moment_deviation": 2, "ssim": 3,
    "xsim": 3, "cc": 3, "mi": 3,
}  # fmt: skip


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Lay out a table."""
    table = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in table)


DIVERGED = 1e6
"""Figures from here on are of no interest but for their size."""


def number(value: float | None, digits: int = 1) -> str:
    """A figure, or a dash; one of a run that diverged as a power of ten."""
    if value is None:
        return "–"
    return f"{value:.{digits}f}" if abs(value) < DIVERGED else f"{value:.0e}".replace("e+", "e")


def seconds(value: float | None) -> str:
    """Seconds with two significant digits or so."""
    return number(value, 0 if value is None or value >= 10 else 1 if value >= 1 else 2)


def metric(name: str, value: float | None) -> str:
    """A metric with as many digits as mean something."""
    return number(value, DIGITS.get(name, 1))


def metric_cells(values: Mapping[str, float | None], names: Sequence[str] = METRICS) -> list[str]:
    """Cells of several metrics."""
    return [metric(name, values.get(name)) for name in names]


def method_label(solver: str, parameters: Mapping[str, Any]) -> str:
    """Name of a method with the parameters that are given."""
    given = ", ".join(f"{name} {value}" for name, value in parameters.items())
    return f"`{solver}`" + (f" ({given})" if given else "")


def failures(rows: Sequence[Row]) -> str:
    """Rows without a result, with the reason; nothing where there are none."""
    lines = [
        [", ".join(value for value in row.tags.values() if value), row.record.job["weight"], row.record.failed]
        for row in rows if row.record.failed
    ]  # fmt: skip
    return f"No result:\n\n{markdown(['row', 'weight by', 'reason'], lines)}" if lines else ""
