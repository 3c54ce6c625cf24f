"""The overview of a cohort: one HTML file with a picture, the numbers and the warnings of every run inside."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from urllib.parse import quote

import numpy as np

from qsm_recon.cohort.derivatives import GROUP, THUMBNAIL
from qsm_recon.cohort.record import DONE, FAILED, Record
from qsm_recon.cohort.table import COLUMNS
from qsm_recon.io import atomic_write_text
from qsm_recon.version import __version__


@dataclass(frozen=True)
class Number:
    """A column of the page: of the table, a short head, the unit, digits, and whether odd values are marked."""

    column: str
    head: str
    unit: str
    format: str
    judged: bool = False


NUMBERS = (
    Number("chi_sd", "χ sd", "ppm", ".4f", judged=True),
    Number("chi_p01", "χ 1 %", "ppm", ".3f", judged=True),
    Number("chi_p99", "χ 99 %", "ppm", ".3f", judged=True),
    Number("volume", "volume", "mL", ".0f", judged=True),
    Number("residual", "residual", "", ".3g", judged=True),
    Number("main_parameter_value", "parameter", "", ".3g"),
    Number("iterations", "iterations", "", "d"),
    Number("seconds", "time", "s", ".0f"),
    Number("memory", "memory", "GiB", ".1f"),
)
LEAST_TO_JUDGE = 6
"""Runs without which none is called unlike the others."""
UNUSUAL = 4.0
"""Robust standard deviations from the median."""
WIDTH, HEIGHT, EDGE, TOP = 260, 56, 12, 14
Unusual = Mapping[str, frozenset[str]]


def write_overview(out: Path, records: Sequence[Record], root: Path, missing: int = 0) -> Path:
    """Write the page.

    Parameters
    ----------
    out
        The folder of results.
    records
        What became of each acquisition.
    root
        The data set that was read.
    missing
        Acquisitions that have not been tried yet.

    Raises
    ------
    ResourceError
        If it cannot be written.
    """
    unusual = unlike_others(records)
    failed = sum(record.status == FAILED for record in records)
    folder = files("qsm_recon.cohort") / "page"
    counts = [f"{len(records) - failed} done", f"{failed} failed"] + ([f"{missing} not tried yet"] if missing else [])
    page = Template((folder / "overview.html").read_text("utf-8")).substitute(
        title=escape(f"Susceptibility maps of {root.name}"),
        style=(folder / "overview.css").read_text("utf-8"),
        script=(folder / "overview.js").read_text("utf-8"),
        summary=escape(f"{len(records) + missing} acquisitions: {', '.join(counts)}."),
        method=escape(_methods(records)),
        plots="\n".join(_plot(number, records, unusual) for number in NUMBERS if number.judged),
        heads="".join(_head(number) for number in NUMBERS),
        rows="\n".join(_row(record, out, f"{root}/", unusual) for record in records),
        all=len(records),
        failed=failed,
        warned=sum(bool(record.warnings) for record in records),
        unusual=len(set().union(*unusual.values())),
        unusual_distance=f"{UNUSUAL:g}",
        glossary="\n".join(_term(number) for number in NUMBERS),
        written=escape(
            f"Written by qsm_recon {__version__} on {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC; data set: {root}; "
            f"table: {GROUP}.tsv."
        ),
    )
    return atomic_write_text(out / f"{GROUP}.html", page)


def unlike_others(records: Sequence[Record]) -> dict[str, frozenset[str]]:
    """Names of the runs whose value is far from the cohort's median, by column."""
    found = {}
    for column in (number.column for number in NUMBERS if number.judged):
        values = {record.name: record.facts[column] for record in records if _known(record, column)}
        array = np.array(list(values.values()), float)
        far = np.zeros(array.size, bool)
        if array.size >= LEAST_TO_JUDGE:
            distance = np.abs(array - np.median(array))
            far = distance > UNUSUAL * 1.4826 * np.median(distance)
        found[column] = frozenset(name for name, is_far in zip(values, far, strict=True) if is_far)
    return found


def _known(record: Record, column: str) -> bool:
    return record.status == DONE and record.facts.get(column) is not None


def _methods(records: Sequence[Record]) -> str:
    """The methods in words, most runs' first."""
    words = [" ".join(record.command[: record.command.index("--dataset")]) for record in records if record.command]
    different = sorted(set(words), key=lambda word: -words.count(word))
    if len(different) == 1:
        return f"Each as by: python -m qsm_recon.run {different[0]}"
    return "Different methods: " + "; ".join(f"{words.count(word)} × {word}" for word in different)


def _head(number: Number) -> str:
    unit = f" <small>{escape(number.unit)}</small>" if number.unit else ""
    return f"<th>{escape(number.head)}{unit}</th>"


def _term(number: Number) -> str:
    return f"<dt>{escape(number.head)}</dt><dd>{escape(COLUMNS[number.column]['Description'])}</dd>"


def _row(record: Record, out: Path, prefix: str, unusual: Unusual) -> str:
    odd = [number for number in NUMBERS if record.name in unusual.get(number.column, ())]
    marks = [record.status, *(["warned"] if record.warnings else []), *(["unusual"] if odd else [])]
    cells = "".join(_cell(record, number, number in odd) for number in NUMBERS)
    name = escape(record.name)
    return (
        f'<tr id="{name}" data-name="{name}" data-marks="{" ".join(marks)}">'
        f'<td class="text name" data-value="{name}"><div>{name} <span class="{escape(record.status)}">'
        f"{escape(record.status)}</span></div>{_picture(record, out)}</td>"
        f'<td class="text know">{_to_know(record, odd, prefix)}</td>{cells}</tr>'
    )


def _cell(record: Record, number: Number, odd: bool) -> str:
    if not _known(record, number.column):
        return '<td data-value=""></td>'
    value = record.facts[number.column]
    kind = ' class="unusual"' if odd else ""
    return f'<td{kind} data-value="{float(value):.9g}">{escape(format(value, number.format))}</td>'


def _picture(record: Record, out: Path) -> str:
    """The thumbnail, which leads to the full picture where the page lies among the results."""
    place = next((path for path in record.outputs if path.endswith(THUMBNAIL)), None)
    if record.status != DONE or place is None or not (out / place).is_file():
        return '<div class="none">no map</div>'
    full = place.removesuffix(f"_{THUMBNAIL}") + ".png"
    packed = base64.b64encode((out / place).read_bytes()).decode("ascii")
    return (
        f'<a href="{escape(quote(full))}"><img alt="three views of {escape(record.name)}" '
        f'src="data:image/jpeg;base64,{packed}"></a>'
    )


def _to_know(record: Record, odd: Sequence[Number], prefix: str) -> str:
    """Reason, warnings and notes; paths of the data set without its place."""

    def text(line: str) -> str:
        return escape(line.replace(prefix, ""))

    items = [text(line) for line in (record.reason, *record.warnings) if line]
    if odd:
        items.append("unlike the others: " + escape(", ".join(number.head for number in odd)))
    found = f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>" if items else ""
    for title, lines in (("notes", record.notes), ("traceback", record.traceback.splitlines())):
        if lines:
            found += f"<details><summary>{title}</summary>{'<br>'.join(map(text, lines))}</details>"
    return found


def _plot(number: Number, records: Sequence[Record], unusual: Unusual) -> str:
    """Every run's value as a dot on a line; a click on it leads to the run."""
    values = {record.name: float(record.facts[number.column]) for record in records if _known(record, number.column)}
    if not values:
        return ""
    low, high = min(values.values()), max(values.values())
    spread = (high - low) or 1.0
    dots = []
    for index, (name, value) in enumerate(values.items()):
        x = EDGE + (WIDTH - 2 * EDGE) * ((value - low) / spread if high > low else 0.5)
        y = TOP + 4 + 20 * ((index * 0.618034) % 1)  # spread evenly, so that equal values do not hide each other
        kind = ' class="unusual"' if name in unusual[number.column] else ""
        label = escape(f"{name}: {value:{number.format}} {number.unit}".strip())
        dots.append(
            f'<a href="#{escape(quote(name))}"><circle{kind} cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{label}</title>'
            "</circle></a>"
        )
    middle = float(np.median(list(values.values())))
    x = EDGE + (WIDTH - 2 * EDGE) * ((middle - low) / spread if high > low else 0.5)
    axis = "".join(
        f'<text x="{place}" y="{HEIGHT - 3}" text-anchor="{anchor}">{value:{number.format}}</text>'
        for place, anchor, value in ((EDGE, "start", low), (WIDTH - EDGE, "end", high))
        if high > low
    )
    return (
        f"<figure><figcaption>{escape(number.head)} <span class='faint'>median "
        f"{middle:{number.format}} {escape(number.unit)}</span></figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(number.head)} of every run">'
        f'<line class="median" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 2}" y2="{HEIGHT - 16}"/>'
        f"{''.join(dots)}{axis}</svg></figure>"
    )
