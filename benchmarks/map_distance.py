"""Is the estimate that runs stop on honest: ``python -m benchmarks.map_distance [CASE ...]``.

Each method solves each data set with its defaults, and again for so long that what is left is nothing beside the
tolerance.  Told is what the run estimated of its distance from its limit when it stopped, true what it was; both are
relative to the norm of the limit in the mask.  Told may be more, and is meant never to be less than half of the true.
Phantoms are of reduced size: both models, noise of three levels, with and without details, and weights other than the
default; real data and simulated heads are given as cases (as of benchmarks.rc2).
Exit code 0: done; 2: bad usage or data; 130: interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.suite.cases import check, full_specification, load, portable
from benchmarks.suite.command import BenchmarkParser, guarded
from benchmarks.suite.table import markdown, number
from benchmarks.timing import RESULTS, save_rows
from qsm_recon import Problem, make_solver
from qsm_recon.result import Reconstruction

TABLE = "map_distance"
PHANTOMS = (
    *(f"phantom:{model}?size=reduced&snr={snr}" for model in ("sim1", "sim2") for snr in ("50", "100", "1000")),
    *(f"phantom:sim2?size=reduced&anatomy={anatomy}" for anatomy in ("textured", "lesions", "invivo")),
)
FACTORS = {"phantom:sim2?size=reduced&snr=100": (0.25, 1.0, 4.0)}
"""Multiples of the default weight; the default alone where nothing else is said."""
METHODS = ("tv", "wl1l2")
LONG_ITERATIONS = 700
HONEST = 0.5
"""Least that told may be of the true distance."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = BenchmarkParser(prog="python -m benchmarks.map_distance", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="beside the phantoms")
    parser.add_argument("--only", nargs="+", metavar="METHOD", default=METHODS, help=f"default {' '.join(METHODS)}")
    parser.add_argument("--show", action="store_true", help="compute nothing, print what is stored")
    options = parser.parse_args(arguments)
    return guarded(lambda: _run(options))


def distance_table(rows: Sequence[dict[str, Any]]) -> str:
    """Told and true, data set by data set."""
    lines = [
        [f"`{row['solver']}`", row["data"], f"{row['factor']:g}", str(row["iterations"]),
         number(100 * row["told"]), number(100 * row["true"]), number(row["told"] / row["true"], 2)]
        for row in rows
    ]  # fmt: skip
    return markdown(["method", "data", "weight, defaults", "iterations", "told, %", "true, %", "told / true"], lines)


def measured(method: str, problem: Problem, factor: float) -> dict[str, Any]:
    """Solve to the method's own stop and beyond; what was told and what was true."""
    solver = make_solver(method).resolved(problem)
    weight = float(f"{factor * solver.main_value():.6g}")
    parameters = {solver.main_parameter().name: weight}
    found = make_solver(method, **parameters).solve(problem)
    long = {**parameters, "tolerance": 0.0, "max_iterations": LONG_ITERATIONS}
    limit = make_solver(method, **long).solve(problem)
    return {
        "solver": method, "factor": factor, "weight": weight, "iterations": found.iterations,
        "told": found.details["map_distance"], "true": distance(found, limit),
    }  # fmt: skip


def distance(found: Reconstruction, limit: Reconstruction) -> float:
    """Norm of the difference of two maps over that of the second, in the mask."""
    values, expected = (r.susceptibility_ppm[limit.mask].astype(np.float64) for r in (found, limit))
    return float(np.linalg.norm(values - expected) / np.linalg.norm(expected))


def _run(options: argparse.Namespace) -> int:
    if not options.show:
        specifications = [*PHANTOMS, *map(full_specification, options.cases)]
        for specification in specifications:
            check(specification)
        for method in options.only:
            make_solver(method)  # an unknown one is said before hours of work
        for specification in specifications:
            problem = load(specification).problem
            for method in options.only:
                for factor in FACTORS.get(specification, (1.0,)):
                    row = {**measured(method, problem, factor), "data": portable(specification)}
                    save_rows(TABLE, [row], ("solver", "data", "factor"))
                    print(distance_table([row]).splitlines()[-1], flush=True)
    rows = stored_rows()
    print(f"\n{distance_table(rows)}\n\n{verdict(rows)}")
    return 0


def verdict(rows: Sequence[dict[str, Any]]) -> str:
    """One sentence: how often, and at worst."""
    ratios = [row["told"] / row["true"] for row in rows]
    return (
        f"Of {len(rows)} runs on {len({row['data'] for row in rows})} data sets, told was less than true in "
        f"{sum(ratio < 1 for ratio in ratios)} and less than half of it in {sum(ratio < HONEST for ratio in ratios)}; "
        f"told over true: {min(ratios):.2f} to {max(ratios):.2f}, median {float(np.median(ratios)):.2f}."
    )


def stored_rows() -> list[dict[str, Any]]:
    """What was measured before."""
    path = RESULTS / f"{TABLE}.json"
    return json.loads(path.read_text())["rows"] if path.is_file() else []


if __name__ == "__main__":
    sys.exit(main())
