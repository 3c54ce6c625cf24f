"""Print the tables of ``docs/results.md`` from the stored figures: ``python -m benchmarks.tables``.

Those of the challenge, of RC1 and of convergence are from before the suite, which now makes such figures
(``python -m benchmarks.rc2``, ``python -m benchmarks.study``); its own tables are in ``docs/benchmarks.md``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from benchmarks.baseline import TABLE as BASELINE
from benchmarks.baseline import baseline_table
from benchmarks.choosing import TABLE as CHOOSING
from benchmarks.choosing import choosing_table
from benchmarks.map_distance import TABLE as DISTANCE
from benchmarks.map_distance import distance_table, verdict
from benchmarks.memory import TABLE as MEMORY
from benchmarks.memory import builds_table
from benchmarks.suite.command import BenchmarkParser
from benchmarks.suite.table import markdown, method_label, number
from benchmarks.sweeps import TABLE as SWEEPS
from benchmarks.sweeps import sweeps_table
from benchmarks.timing import RESULTS
from benchmarks.whole_run import TABLE as WHOLE
from benchmarks.whole_run import stages_table, whole_table
from qsm_recon.metrics import OFFICIAL_METRICS


def rows_of(name: str) -> list[dict[str, Any]]:
    """Rows of one stored benchmark; none where it has not been run."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["rows"] if path.is_file() else []


def label(row: dict[str, Any]) -> str:
    """Name of a method with the parameters that differ from its defaults."""
    return method_label(row["solver"], row["parameters"])


def challenge() -> str:
    """The challenge's table: eight metrics, weights and iterations."""
    head = ["method", "field", "NRMSE", "dNRMSE", "tissue", "blood", "deep grey", "slope", "streaking", "moment"]
    head += ["SIM1: NRMSE (weight), iterations", "SIM2: the same", "published"]
    lines = []
    for row in sorted(rows_of("challenge"), key=lambda row: (row["field"] != "fit", row["combined"]["nrmse"])):
        values = [row["combined"][metric] for metric in OFFICIAL_METRICS]
        digits = [1, 1, 1, 1, 1, 3, 3, 2]
        each = [
            f"{found['metrics']['nrmse']:.1f} ({found['best']:.2g}), {found['iterations']}"
            for found in (row["sim1"], row["sim2"])
        ]
        cells = [number(value, places) for value, places in zip(values, digits, strict=True)]
        lines.append([label(row), row["field"], *cells, *each, row["published"] or "–"])
    return markdown(head, lines)


def rc1() -> str:
    """Error against COSMOS."""
    lines = [
        [label(row), f"{row['best']:.3g}", f"{row['nrmse']:.2f}", f"{row['xsim']:.3f}", str(row["iterations"]),
         row["published"] or "–"]
        for row in sorted(rows_of("rc1"), key=lambda row: row["nrmse"])
    ]  # fmt: skip
    return markdown(["method", "best parameter", "NRMSE", "XSIM", "iterations", "published NRMSE/XSIM"], lines)


def speed() -> str:
    """Iterations against their transforms, memory, time to convergence."""
    path = RESULTS / "speed_all.json"
    if not path.is_file():
        return ""
    whole = {row["solver"]: row for row in rows_of("speed_converge")}
    lines = []
    for row in json.loads(path.read_text())["rows"]:
        full = whole.get(row["solver"]) if row["shape"][1] > row["shape"][0] else None
        lines.append(
            [f"`{row['solver']}`", "×".join(map(str, row["shape"])), f"{1e3 * row['iteration_s']:.0f}",
             f"{row['transforms']}: {1e3 * row['transforms_s']:.0f}", f"{row['ratio']:.2f}",
             f"{row['peak_volumes']:.1f}", "–" if full is None else f"{full['seconds']:.1f} ({full['iterations']})"]
        )  # fmt: skip
    head = [
        "method",
        "grid",
        "iteration, ms",
        "its transforms, ms",
        "ratio",
        "peak, volumes",
        "s to convergence (iterations)",
    ]
    return markdown(head, lines)


def morphology() -> str:
    """The same for the Gauss-Newton engine."""
    lines = [
        [f"`{row['solver']}`", row["field"], f"{row['seconds']:.1f}",
         f"{row['outer_iterations']}, {row['inner_iterations']:.0f}", f"{row['nrmse']:.1f}",
         f"{1e3 * row['inner_iteration_s']:.0f}", f"{1e3 * row['transforms_s']:.0f}", f"{row['ratio']:.2f}",
         f"{row['peak_volumes']:.1f}"]
        for row in rows_of("speed_morphology")
    ]  # fmt: skip
    head = [
        "method",
        "field",
        "s",
        "outer, inner iterations",
        "NRMSE",
        "inner iteration, ms",
        "its 4 transforms, ms",
        "ratio",
    ]
    return markdown([*head, "peak, volumes"], lines)


def convergence() -> str:
    """Distance from the minimum at the default stop."""
    lines = [
        [f"`{row['solver']}`", row["data_set"], str(row["iterations"]), f"{row['above_minimum_percent']:.3f}",
         f"{row['last_fifth_percent']:.4f}"]
        for row in rows_of("convergence")
    ]  # fmt: skip
    return markdown(["method", "data", "iterations", "% above the long run", "% its last fifth brought"], lines)


TABLES: dict[str, Callable[[], str]] = {
    "challenge": challenge, "rc1": rc1, "convergence": convergence, "speed": speed, "morphology": morphology,
    "baseline": lambda: baseline_table(rows_of(BASELINE)),
    "choosing": lambda: choosing_table(rows_of(CHOOSING)),
    "memory": lambda: builds_table(rows_of(MEMORY)),
    "sweeps": lambda: sweeps_table(rows_of(SWEEPS)),
    "distance": lambda: f"{distance_table(rows_of(DISTANCE))}\n\n{verdict(rows_of(DISTANCE))}",
    "whole": lambda: f"{whole_table(rows_of(WHOLE))}\n\n{stages_table(rows_of(WHOLE))}",
}  # fmt: skip


def main() -> None:
    """Print."""
    parser = BenchmarkParser(description=__doc__)
    parser.add_argument("tables", nargs="*", choices=tuple(TABLES), help="which; all by default")
    for name in parser.parse_args().tables or TABLES:
        print(f"## {name}\n\n{TABLES[name]()}\n")


if __name__ == "__main__":
    main()
