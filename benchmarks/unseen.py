"""Heads that nothing was decided on: ``python -m benchmarks.unseen [DIR]``.

Every method over phantoms (with and without texture), simulated heads of other origin (``DIR``, its ``*.npz``) and the
2016 challenge's data: the error of the default, of what ``auto`` picks, and of the best weight of a sweep; what the two
lose against the best; and by how much the method is worse than its convex counterpart, at worst, at weights within a
factor of eight of the best.  From the echoes, and on heads with ``--field true`` from the true field with noise.

Rows are stored as they come (``benchmarks/results/unseen.json``); ``--missing`` leaves out those that are there,
``--show`` only prints.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.heads import HEADS, head_case, head_files, require_heads, true_frequency_hz
from benchmarks.selection import RC1, measure
from benchmarks.suite.command import BenchmarkParser, guarded
from benchmarks.suite.table import markdown
from benchmarks.timing import RESULTS, save_rows
from qsm_recon.datasets.case import Case
from qsm_recon.datasets.registry import load_case
from qsm_recon.errors import ParameterError
from qsm_recon.units import hz_per_ppm

COUNTERPARTS = {
    "tkd": None, "tsvd": None, "tikhonov": None, "rts": None, "tv": None, "tgv": None, "wl1": None, "fansi": "tv",
    "fansi-tgv": "tgv", "l1qsm": "wl1", "wl1l2": "tv", "wh-qsm": None, "wh-nlqsm": "wh-qsm", "medi": None,
    "mctfi": None,
}  # fmt: skip
"""Methods, and what each would be if the fidelity were convex."""
PHANTOMS = ("sim1", "sim2", "sim1?anatomy=textured", "sim2?anatomy=textured")
WITHIN = 8.0
TOLERATED_POINTS = 0.5
KEY = ("data_set", "field", "method")


def cases(folder: Path, size: str, field: str) -> dict[str, Callable[[], Case]]:
    """Data sets by name, each loaded when it is asked for."""
    heads: dict[str, Callable[[], Case]] = {
        path.stem: lambda path=path: head_case(path, field)  # type: ignore[misc]
        for path in head_files(folder)
    }
    if field == "true":
        return heads
    joined = {name: f"phantom:{name}{'&' if '?' in name else '?'}size={size}" for name in PHANTOMS}
    found: dict[str, Callable[[], Case]] = {
        f"{name} ({size})": lambda text=text: load_case(text)  # type: ignore[misc]
        for name, text in joined.items()
    }
    found.update(heads)
    if RC1.is_dir():
        found["rc1"] = lambda: load_case(f"rc1:{RC1}")
    return found


def whole_periods(case: Case, folder: Path) -> dict[str, Any]:
    """Voxels of a head whose field is off by more than half a period, and how many of them are trusted by half."""
    estimate, path = case.field_estimate, folder / f"{case.name}.npz"
    if estimate is None or not path.is_file():
        return {}
    problem = case.problem
    assert problem.b0_tesla is not None
    mask = problem.mask
    error = (problem.field_ppm * hz_per_ppm(problem.b0_tesla) - true_frequency_hz(path))[mask]
    error -= np.median(error)
    wrong = np.abs(error) > 0.5 * estimate["ambiguity_hz"]
    trusted = 0
    if problem.reliability is not None:
        trusted = int(np.count_nonzero(problem.reliability[mask][wrong] > 0.5))
    return {"whole_periods": int(wrong.sum()), "of_these_trusted": trusted}


def worse_than(row: dict[str, Any], other: dict[str, Any]) -> float:
    """Largest loss against another method at the same weights, within a factor of eight of the better one's best."""
    best = min((row["best"], other["best"]), key=lambda found: found["nrmse"])["value"]
    path = sorted((point["value"], point["nrmse"]) for point in other["path"])
    values, errors = np.log([value for value, _ in path]), [error for _, error in path]
    differences = [
        point["nrmse"] - float(np.interp(np.log(point["value"]), values, errors))
        for point in row["path"]
        if best / WITHIN <= point["value"] <= best * WITHIN
    ]
    return max(differences)


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    known = {tuple(row[part] for part in KEY): row for row in rows}
    order = sorted({row["data_set"] for row in rows}), list(COUNTERPARTS)
    rows = sorted(rows, key=lambda row: (row["field"], order[0].index(row["data_set"]), order[1].index(row["method"])))
    lines = []
    for row in rows:
        best, auto, default = row["best"]["nrmse"], row["picks"]["auto"], row["default"]["nrmse"]
        counterpart = COUNTERPARTS[row["method"]]
        other = None if counterpart is None else known.get((row["data_set"], row["field"], counterpart))
        lines.append([
            row["data_set"], row["field"], row["method"], f"{best:.1f}", f"{row['best']['value']:.2g}",
            "none" if auto["nrmse"] is None else f"{auto['nrmse'] - best:+.1f}", f"{auto['confidence']:.2f}",
            f"{default - best:+.1f}", "" if other is None else f"{worse_than(row, other):+.1f}",
        ])  # fmt: skip
    heading = (
        "data", "field from", "method", "best NRMSE %", "at", "auto loses", "confidence", "default loses",
        "worse than convex by",
    )  # fmt: skip
    print(markdown(heading, lines))
    for name, row in {row["data_set"]: row for row in rows if "whole_periods" in row}.items():
        print(
            f"{name}: {row['whole_periods']} voxels off by a period, {row['of_these_trusted']} of them with a "
            "reliability above 0.5"
        )


def main() -> None:
    """Run and print."""
    parser = BenchmarkParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="folder with heads, *.npz")
    parser.add_argument(
        "--methods", nargs="+", default=list(COUNTERPARTS), choices=list(COUNTERPARTS), metavar="METHOD"
    )
    parser.add_argument("--data", nargs="+", metavar="NAME", help="only data sets whose names begin so")
    parser.add_argument("--size", choices=("full", "reduced"), default="reduced", help="of phantoms")
    parser.add_argument("--field", choices=("echoes", "true"), default="echoes", help="what the field of heads is from")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--missing", action="store_true", help="only rows that are not stored yet")
    what.add_argument("--show", action="store_true", help="compute nothing")
    options = parser.parse_args()
    if options.folder is not None:
        require_heads(options.folder)
    folder = options.folder or HEADS
    path = RESULTS / "unseen.json"
    stored = json.loads(path.read_text())["rows"] if path.is_file() else []
    done = {tuple(row[part] for part in KEY) for row in stored}
    if not options.show:
        known = cases(folder, options.size, options.field)
        for beginning in options.data or ():
            if not any(name.startswith(beginning) for name in known):
                raise ParameterError(f"--data: no data set begins with '{beginning}'; known: {', '.join(known)}")
        for name, load in known.items():
            if options.data and not name.startswith(tuple(options.data)):
                continue
            case = None
            for method in options.methods:
                if options.missing and (name, options.field, method) in done:
                    continue
                case = case or load()
                row = {"data_set": name, "field": options.field, **measure(method, case)}
                row.update(whole_periods(case, folder) if options.field == "echoes" else {})
                save_rows("unseen", [row], KEY)
                show([row])
    show(json.loads(path.read_text())["rows"] if path.is_file() else [])


if __name__ == "__main__":
    raise SystemExit(guarded(main, interrupted="interrupted"))
