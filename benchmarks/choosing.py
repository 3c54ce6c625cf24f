"""Choosing the weight by ``auto`` in two builds: ``python -m benchmarks.choosing PATH_OR_TAG [CASE ...]``.

Both builds choose the weight of each method for the same field, in processes of one thread, after a solve of two
iterations that compiles and plans.  Printed are the points that they reconstructed, CPU seconds, what they chose, and
the error of the map at that weight, as this build reconstructs it.
Exit code 0: done; 2: bad usage or data; 130: interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.baseline import LOADING, baseline_folder, store_problem
from benchmarks.suite.cases import check, full_specification, load, portable
from benchmarks.suite.command import BenchmarkParser, guarded
from benchmarks.suite.execute import error_percent
from benchmarks.suite.table import markdown, number
from benchmarks.timing import save_rows
from qsm_recon import make_solver
from qsm_recon.errors import ParameterError

TABLE = "choosing"
METHODS = ("tv", "wl1l2", "medi")
PHANTOMS = tuple(f"phantom:sim2?size=reduced{more}" for more in ("", "&anatomy=lesions", "&anatomy=invivo"))
CHILD = (
    LOADING
    + """
from qsm_recon.select.tune import select_value
solver = make_solver(sys.argv[2])
few = {"max_iterations": 2} if "max_iterations" in solver.declared() else {}
make_solver(sys.argv[2], **few).solve(problem)  # compiles and plans
began = time.process_time()
pick, curve = select_value(solver, problem)
print(json.dumps({"cpu_s": time.process_time() - began, "weight": pick.value, "points": len(curve)}))
"""
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = BenchmarkParser(prog="python -m benchmarks.choosing", description=__doc__)
    parser.add_argument("baseline", metavar="PATH_OR_TAG", help="another build of this package")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="with a truth, as of benchmarks.rc2; else phantoms")
    parser.add_argument("--only", nargs="+", metavar="METHOD", default=METHODS, help=f"default {' '.join(METHODS)}")
    options = parser.parse_args(arguments)
    return guarded(lambda: _run(options))


def choosing_table(rows: Sequence[dict[str, Any]]) -> str:
    """Old and new, method by method."""
    lines = [
        [f"`{row['solver']}`", row["data"], f"{row['old_points']} → {row['new_points']}",
         f"{number(row['old_cpu_s'])} → {number(row['new_cpu_s'])}", number(row["ratio"], 2),
         f"{row['old_weight']:.3g} → {row['new_weight']:.3g}", f"{row['old_nrmse']:.2f} → {row['new_nrmse']:.2f}"]
        for row in rows
    ]  # fmt: skip
    return markdown(["method", "data", "points", "CPU s", "ratio", "weight", "NRMSE"], lines)


def chosen_by(folder: Path, problem: Path, method: str) -> dict[str, Any]:
    """Choose with the build in a folder; returns what its process printed.

    Raises
    ------
    ParameterError
        If it failed or found no weight.
    """
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(problem), method]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=folder)
    if done.returncode:
        raise ParameterError(f"{folder}: choosing for {method} failed: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout)
    if found["weight"] is None:
        raise ParameterError(f"{folder}: auto finds no weight of {method}; leave it out with --only")
    return found


def _run(options: argparse.Namespace) -> int:
    specifications = [full_specification(text) for text in options.cases] or list(PHANTOMS)
    for specification in specifications:
        check(specification)
    solvers = {method: make_solver(method) for method in options.only}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        builds = {"old": baseline_folder(options.baseline, scratch / "old"), "new": Path(__file__).resolve().parents[1]}
        for specification in specifications:
            case = load(specification)
            store_problem(case.problem, scratch / "problem.npz")
            for method, solver in solvers.items():
                row: dict[str, Any] = {
                    "solver": method, "data": portable(specification), "baseline": Path(options.baseline).name
                }  # fmt: skip
                for name, build in builds.items():
                    found = chosen_by(build, scratch / "problem.npz", method)
                    error = error_percent(case, solver.with_regularisation(found["weight"]).solve(case.problem))
                    row |= {f"{name}_{key}": value for key, value in (found | {"nrmse": error}).items()}
                row["ratio"] = row["new_cpu_s"] / row["old_cpu_s"]
                save_rows(TABLE, [row], ("solver", "data", "baseline"))
                rows.append(row)
                print(choosing_table([row]).splitlines()[-1], flush=True)
    print(f"\n{choosing_table(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
