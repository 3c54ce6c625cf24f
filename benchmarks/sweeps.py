"""Sweeps of two builds beside each other: ``python -m benchmarks.sweeps PATH_OR_TAG``.

Both builds reconstruct the same field for the same 15 values of each method's weight, from 20 times its default to 1/25
of it, in processes of one thread that take turns.  CPU seconds are those of the sweep alone, after a short one that
compiles and plans.  How far the last build's costs and maps are from those of solves from nothing, each to the method's
own stop, is printed beside them: the largest over the sweep, and that at the value nearest to the default.
Exit code 0: done; 2: bad usage or data; 130: interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.baseline import LOADING, baseline_folder, store_problem
from benchmarks.suite.cases import full_specification, load, portable
from benchmarks.suite.command import BenchmarkParser, guarded
from benchmarks.suite.table import markdown, number
from benchmarks.timing import RESULTS, save_rows
from qsm_recon import Problem, make_solver
from qsm_recon.errors import ParameterError
from qsm_recon.select.costs import costs
from qsm_recon.solvers.base import Solver

TABLE = "sweeps"
METHODS = ("tv", "fansi", "wl1l2", "medi")
POINTS, STRONGEST, WEAKEST = 15, 20.0, 0.04
CHILD = (
    LOADING
    + """
from qsm_recon.select.path import Path
solver, values = make_solver(sys.argv[2]), json.loads(sys.argv[3])
few = {"max_iterations": 2} if "max_iterations" in solver.declared() else {}
list(Path(make_solver(sys.argv[2], **few), problem).sweep(values[:2]))  # compiles and plans
began = time.process_time()
points = list(Path(solver, problem).sweep(values))
seconds = time.process_time() - began
np.savez(sys.argv[4], maps=np.array([point.susceptibility_ppm[problem.mask] for point in points]))
print(json.dumps({
    "cpu_s": seconds,
    "iterations": sum(point.iterations for point in points),
    "costs": [(point.data_cost, point.regularisation_cost) for point in points],
}))
"""
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = BenchmarkParser(prog="python -m benchmarks.sweeps", description=__doc__)
    parser.add_argument("baseline", metavar="PATH_OR_TAG", help="another build of this package")
    parser.add_argument("--only", nargs="+", metavar="METHOD", default=METHODS, help=" ".join(METHODS))
    parser.add_argument("--data", metavar="CASE", default="phantom:sim2?size=reduced", help="as of benchmarks.rc2")
    parser.add_argument("--rounds", type=int, default=1, help="how often they take turns (default 1)")
    options = parser.parse_args(arguments)
    return guarded(lambda: _run(options))


def sweeps_table(rows: Sequence[dict[str, Any]]) -> str:
    """Old and new, method by method."""
    lines = [
        [f"`{row['solver']}`", row["data"], row["baseline"], f"{row['old_iterations']} → {row['new_iterations']}",
         f"{number(row['old_cpu_s'])} → {number(row['new_cpu_s'])}", number(row["ratio"], 2),
         f"{number(100 * row['cost_difference'])}, {number(100 * row['usual_cost_difference'])}",
         f"{number(100 * row['map_difference'])}, {number(100 * row['usual_map_difference'])}"]
        for row in rows
    ]  # fmt: skip
    head = ["method", "data", "beside", "iterations", "CPU s", "ratio", "costs, %: most, usual", "maps, %: most, usual"]
    return markdown(head, lines)


def sweep_with(folder: Path, problem: Path, method: str, values: Sequence[float], target: Path) -> dict[str, Any]:
    """Sweep with the build in a folder; returns what its process printed, and leaves the maps in a file.

    Raises
    ------
    ParameterError
        If it failed.
    """
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(problem), method, json.dumps(list(values)), str(target)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=folder)
    if done.returncode:
        raise ParameterError(f"{folder}: a sweep of {method} failed: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _run(options: argparse.Namespace) -> int:
    specification = full_specification(options.data)
    problem = load(specification).problem
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        builds = {"old": baseline_folder(options.baseline, scratch / "old"), "new": Path(__file__).resolve().parents[1]}
        store_problem(problem, scratch / "problem.npz")
        for method in options.only:
            row = _measured(method, problem, builds, scratch, options.rounds)
            row |= {"data": portable(specification), "baseline": Path(options.baseline).name, "rounds": options.rounds}
            save_rows(TABLE, [row], ("solver", "data", "baseline"))
            print(sweeps_table([row]).splitlines()[-1], flush=True)
    print(f"\n{sweeps_table(stored_rows())}")
    return 0


def _measured(method: str, problem: Problem, builds: dict[str, Path], scratch: Path, rounds: int) -> dict[str, Any]:
    solver = make_solver(method).resolved(problem)
    default = solver.main_value()
    values = [float(f"{default * factor:.6g}") for factor in np.geomspace(STRONGEST, WEAKEST, POINTS)]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in builds}
    for _ in range(rounds):
        for name, folder in builds.items():
            runs[name].append(sweep_with(folder, scratch / "problem.npz", method, values, scratch / f"{name}.npz"))
    with np.load(scratch / "new.npz", allow_pickle=False) as stored:
        maps = stored["maps"]
    differences = np.array(
        [
            _difference(solver.with_regularisation(value), problem, found, chi)
            for value, found, chi in zip(values, runs["new"][-1]["costs"], maps, strict=True)
        ]
    )
    usual = int(np.argmin(np.abs(np.log(np.array(values) / default))))
    row: dict[str, Any] = {
        "solver": method,
        "cost_difference": float(differences[:, 0].max()),
        "map_difference": float(differences[:, 1].max()),
        "usual_cost_difference": float(differences[usual, 0]),
        "usual_map_difference": float(differences[usual, 1]),
    }
    for name, found in runs.items():
        row[f"{name}_cpu_s"] = statistics.median(run["cpu_s"] for run in found)
        row[f"{name}_iterations"] = found[-1]["iterations"]
    return row | {"ratio": row["new_cpu_s"] / row["old_cpu_s"]}


def _difference(
    solver: Solver, problem: Problem, found: Sequence[float], chi: np.ndarray[Any, Any]
) -> tuple[float, float]:
    """Of costs and map of a point of a sweep from those of a solve from nothing, relative to these."""
    alone = solver.solve(problem)
    values = alone.susceptibility_ppm[problem.mask].astype(float)
    apart = chi - values
    cost = max(abs(a / b - 1) for a, b in zip(found, costs(alone), strict=True))
    return cost, float(np.linalg.norm(apart - apart.mean()) / np.linalg.norm(values - values.mean()))


def stored_rows() -> list[dict[str, Any]]:
    """What was measured before."""
    path = RESULTS / f"{TABLE}.json"
    return json.loads(path.read_text())["rows"] if path.is_file() else []


if __name__ == "__main__":
    sys.exit(main())
