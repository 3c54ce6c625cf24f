"""One build beside another: ``python -m benchmarks.speed --baseline PATH_OR_TAG``.

Both builds solve the same problems with the same weights, in processes of one thread that take turns; CPU seconds are
those of the solve alone, after a short one that compiles and plans.  Distances are those from a long run of the newer
build (``tolerance=0``, or many outer steps), relative to its norm in the mask; ``told`` is what the run itself
estimated.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.suite.cases import load, portable
from benchmarks.suite.table import markdown, number
from benchmarks.timing import RESULTS, save_rows
from qsm_recon import make_solver
from qsm_recon.errors import ParameterError
from qsm_recon.problem import Problem

TABLE = "speed_baseline"
METHODS = (
    "tv", "fansi", "wl1l2", "tgv", "fansi-tgv", "wl1", "l1qsm", "wh-qsm", "wh-nlqsm", "rts", "medi", "tfi", "mctfi",
)  # fmt: skip
LONG_ITERATIONS = {"wl1": 1500, "l1qsm": 1500, "wh-qsm": 2500, "wh-nlqsm": 2500}
USUAL_LONG_ITERATIONS = 700
LONG_STEPS = {"update_tolerance": 0.0, "max_iterations": 20, "cg_tolerance": 0.02, "cg_iterations": 60}
"""Stand for the limit of methods that take outer steps."""
SAME = ("smoothing",)  # parameters beside the weight that the functional depends on, and whose defaults differ
OF_ECHOES = ("mctfi",)
ARRAYS = ("field_ppm", "mask", "magnitude", "field_noise_ppm")  # what every build knows
LOADING = """
import dataclasses, json, sys, time
import numpy as np
from qsm_recon import Grid, Problem, make_solver
from qsm_recon.backend.threads import set_thread_count
set_thread_count(1)
files = np.load(sys.argv[1], allow_pickle=False)
facts = json.loads(str(files["facts"]))
arrays = {name: files[name] for name in files.files if name != "facts"}
grid = Grid(arrays["mask"].shape, tuple(facts["voxel_size_mm"]), tuple(facts["b0_direction"]))
known = {field.name for field in dataclasses.fields(Problem)}
kind = {"field_kind": facts["field_kind"]} if "field_kind" in known else {}
problem = Problem(
    grid=grid, **arrays, b0_tesla=facts["b0_tesla"], echo_times_s=tuple(facts["echo_times_s"]), **kind
)
"""
"""First lines of a child: the problem of a file, by any build."""
CHILD = (
    LOADING
    + """
jobs = json.loads(sys.argv[2])
for name, parameters, target in jobs:
    make_solver(name, **{**parameters, "max_iterations": 2}).solve(problem)  # compiles and plans
    began = time.process_time()
    result = make_solver(name, **parameters).solve(problem)
    seconds = time.process_time() - began
    np.save(target, result.susceptibility_ppm)
    told = result.details.get("map_distance")
    print(json.dumps({"cpu_s": seconds, "iterations": result.iterations, "converged": result.converged, "told": told}))
"""
)


def baseline_folder(where: str, scratch: Path) -> Path:
    """A folder that holds the other build: as given, or unpacked from a commit or tag of this repository.

    Raises
    ------
    ParameterError
        If it is neither.
    """
    if (Path(where) / "qsm_recon").is_dir():
        return Path(where).resolve()
    root = Path(__file__).resolve().parents[1]
    packed = subprocess.run(["git", "-C", str(root), "archive", where, "qsm_recon"], check=False, capture_output=True)
    if packed.returncode:
        raise ParameterError(
            f"--baseline: '{where}' is neither a folder with a qsm_recon in it nor a commit or tag of this repository"
        )
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(scratch, filter="data")
    return scratch


def store_problem(problem: Problem, path: Path, *, echoes: bool = False) -> None:
    """Write what both builds are given; the echoes too where they are asked for."""
    wanted = (*ARRAYS, "echoes") if echoes else ARRAYS
    arrays = {name: getattr(problem, name) for name in wanted if getattr(problem, name) is not None}
    facts = {
        "voxel_size_mm": problem.grid.voxel_size_mm, "b0_direction": problem.grid.b0_direction,
        "b0_tesla": problem.b0_tesla, "echo_times_s": problem.echo_times_s,
        "field_kind": "total" if problem.field_kind == "total" else "local",
    }  # fmt: skip
    np.savez(path, facts=json.dumps(facts), **arrays)


def run_build(folder: Path, problem: Path, job: tuple[str, dict[str, Any], Path]) -> dict[str, Any]:
    """Solve with the build in a folder; returns what its process printed.

    Raises
    ------
    ParameterError
        If it failed.
    """
    name, parameters, target = job
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(problem), json.dumps([(name, parameters, str(target))])]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=folder)
    if done.returncode:
        raise ParameterError(f"{folder}: {name} failed: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def compare_builds(
    where: str, methods: Sequence[str], data: str, rounds: int, results: Path = RESULTS
) -> list[dict[str, Any]]:
    """Measure, store each row as it is made (``speed_baseline.json`` in the folder of results), and return all.

    Raises
    ------
    ParameterError
        If there is no such build, or one of the two fails.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        builds = {"old": baseline_folder(where, scratch / "old"), "new": Path(__file__).resolve().parents[1]}
        case = load(data)
        for method in methods:
            store_problem(case.problem, scratch / "problem.npz", echoes=method in OF_ECHOES)
            truth = None if case.truth is None else case.truth.susceptibility_ppm
            rows.append(_measured(method, case.problem, truth, builds, scratch, rounds))
            rows[-1] |= {"data": portable(data), "baseline": Path(where).name, "rounds": rounds}
            save_rows(TABLE, [rows[-1]], ("solver", "data", "baseline"), results)
            print(baseline_table(rows[-1:]).splitlines()[-1], flush=True)
    return rows


def _measured(
    method: str, problem: Problem, truth: NDArray | None, builds: dict[str, Path], scratch: Path, rounds: int
) -> dict[str, Any]:
    solver = make_solver(method).resolved(problem)
    weight = solver.main_value()
    parameters = {
        name: getattr(solver, name) for name in (solver.main_parameter().name, *SAME) if hasattr(solver, name)
    }
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in builds}
    for _ in range(rounds):
        for name, folder in builds.items():
            runs[name].append(run_build(folder, scratch / "problem.npz", (method, parameters, scratch / f"{name}.npy")))
    usual = {"tolerance": 0.0, "max_iterations": LONG_ITERATIONS.get(method, USUAL_LONG_ITERATIONS)}
    long = {**parameters, **(usual if "tolerance" in solver.declared() else LONG_STEPS)}
    run_build(builds["new"], scratch / "problem.npz", (method, long, scratch / "long.npy"))
    maps = {
        name: np.load(scratch / f"{name}.npy", allow_pickle=False)[problem.mask].astype(float)
        for name in (*builds, "long")
    }
    row: dict[str, Any] = {"solver": method, "weight": weight}
    for name, found in runs.items():
        row |= {
            f"{name}_cpu_s": statistics.median(run["cpu_s"] for run in found),
            f"{name}_iterations": found[-1]["iterations"],
            f"{name}_distance": _relative(maps[name], maps["long"]),
            f"{name}_nrmse": None if truth is None else 100 * _relative(maps[name], truth[problem.mask], centred=True),
        }
    return row | {"ratio": row["new_cpu_s"] / row["old_cpu_s"], "told": runs["new"][-1]["told"]}


def _relative(values: NDArray, reference: NDArray, *, centred: bool = False) -> float:
    """Norm of a difference over that of the reference; of values without their means where ``centred``."""
    if centred:
        values, reference = values - values.mean(), reference - reference.mean()
    return float(np.linalg.norm(values - reference) / np.linalg.norm(reference))


def baseline_table(rows: Sequence[dict[str, Any]]) -> str:
    """Old and new, method by method."""
    lines = [
        [f"`{row['solver']}`", row["data"], f"{row['old_iterations']} → {row['new_iterations']}",
         f"{number(row['old_cpu_s'])} → {number(row['new_cpu_s'])}", number(row["ratio"], 2),
         f"{number(100 * row['old_distance'])} → {number(100 * row['new_distance'])}",
         number(None if row["told"] is None else 100 * row["told"]),
         f"{number(row['old_nrmse'], 2)} → {number(row['new_nrmse'], 2)}"]
        for row in rows
    ]  # fmt: skip
    head = ["method", "data", "iterations", "CPU s", "ratio", "% from the limit", "told, %", "NRMSE"]
    return markdown(head, lines)
