"""Speed and memory of medi, tfi and mctfi, for ``benchmarks.speed --morphology``.

On the full-size phantom (SIM2, SNR 100, multi-echo fit), where a run with default settings ends: seconds, outer and
inner iterations, error; the time of one inner (conjugate gradient) iteration beside that of its four Fourier
transforms on the same grid in the same process; peak memory.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.suite.execute import score
from benchmarks.timing import RESULTS, four_transforms_seconds, save_rows
from qsm_recon import Problem, load_case, make_solver

TABLE = "speed_morphology"
METHODS = {"local": ("medi", "tfi", "mctfi"), "total": ("tfi", "mctfi")}
OPTIONS = {"local": "", "total": "&background=yes"}
FEW, MANY, ROUNDS = 4, 24, 3
MEMORY_CODE = """
from benchmarks.timing import PeakMemory
from qsm_recon import load_case, make_solver
quick = dict(max_iterations=1, cg_iterations=2)
make_solver("{solver}", **quick).solve(load_case("phantom:sim2?size=reduced{options}").problem)
problem = load_case("phantom:sim2?size=full{options}").problem
with PeakMemory() as memory:
    make_solver("{solver}", **quick).solve(problem)
print(memory.added_bytes)
"""


def inner_iteration_seconds(solver: str, problem: Problem) -> float:
    """Time of one inner iteration: what many take longer than few, in one outer iteration."""
    once = {"max_iterations": 1, "cg_tolerance": 0.0} | ({"field_iterations": 1} if solver == "mctfi" else {})
    stages = 2 if solver == "mctfi" else 1  # the field map's, and the echoes'
    taken = []
    for _ in range(ROUNDS):
        seconds = []
        for count in (FEW, MANY):
            began = time.perf_counter()
            make_solver(solver, **once, cg_iterations=count).solve(problem)
            seconds.append(time.perf_counter() - began)
        taken.append((seconds[1] - seconds[0]) / (stages * (MANY - FEW)))
    return statistics.median(taken)


def peak_bytes(solver: str, options: str) -> int:
    """Peak memory of a solve above the interpreter with its inputs."""
    code = MEMORY_CODE.format(solver=solver, options=options)
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def measure_morphology(field: str, results: Path = RESULTS) -> Path:
    """Measure, print and store every method on the ``local`` or ``total`` field."""
    options = OPTIONS[field]
    for solver in METHODS[field]:
        case = load_case(f"phantom:sim2?size=full{options}")
        problem = case.problem
        make_solver(solver, max_iterations=1, cg_iterations=1).solve(problem)  # compiles, plans
        result = make_solver(solver).solve(problem)
        padded = tuple(result.details["padded_shape"])
        inner = sum(result.history["cg_iterations"]) + result.details.get("field_cg_iterations", 0)
        one, four = inner_iteration_seconds(solver, problem), four_transforms_seconds(padded)
        peak = peak_bytes(solver, options)
        row = {
            "solver": solver,
            "field": field,
            "padded_shape": list(padded),
            "seconds": result.timings_s["solve"],
            "outer_iterations": result.iterations,
            "inner_iterations": inner,
            "converged": result.converged,
            "nrmse": score(case, result).values["nrmse"],
            "inner_iteration_s": one,
            "transforms_s": four,
            "ratio": one / four,
            "peak_volumes": peak / (4 * np.prod(padded)),
            "peak_mib": peak / 2**20,
        }
        path = save_rows(TABLE, [row], ("solver", "field"), results)
        print(format_morphology_row(row), flush=True)
    return path


def format_morphology_row(row: dict[str, Any]) -> str:
    """One line of the printed table."""
    shape = "×".join(str(n) for n in row["padded_shape"])
    return (
        f"{row['solver']:>10} {row['field']} {shape:>13}  {row['seconds']:6.1f} s   {row['outer_iterations']} outer, "
        f"{row['inner_iterations']:.0f} inner   error {row['nrmse']:.1f} %   "
        f"inner {1e3 * row['inner_iteration_s']:.0f} ms   its 4 transforms "
        f"{1e3 * row['transforms_s']:.0f} ms   ratio {row['ratio']:.2f}   peak {row['peak_volumes']:.1f} volumes"
    )
