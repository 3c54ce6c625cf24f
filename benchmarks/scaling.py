"""How seconds and memory grow with volume and threads, for ``benchmarks.speed --scaling``.

One solver of every engine, a fixed number of iterations on cubes of synthetic field, each in a process of its own;
compiling and planning come before what is timed.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.asv.representatives import REPRESENTATIVES
from benchmarks.suite.record import METRICS, Record, Row
from benchmarks.suite.runner import provenance
from benchmarks.suite.store import SUITE_RESULTS, merge_rows, read_rows
from benchmarks.suite.table import failures, markdown, number, seconds
from qsm_recon.backend.memory import GIB
from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.solvers.registry import make_solver

TABLE = "speed_scaling"
EDGES = (64, 96, 128, 160, 192)
SMALLEST, LARGEST = 16, 512
CODE = """
import json, sys, time
from benchmarks.speed import synthetic_problem
from benchmarks.timing import PeakMemory, return_unused_memory
from qsm_recon import make_solver
from qsm_recon.backend.threads import set_thread_count
name, edge, threads, parameters = json.loads(sys.argv[1])
set_thread_count(threads)
problem = synthetic_problem((edge,) * 3)
solver = make_solver(name, **parameters)
solver.solve(problem, callback=lambda state: False)
return_unused_memory()
with PeakMemory() as memory:
    busy, began = time.process_time(), time.perf_counter()
    result = solver.solve(problem)
    cpu, wall = time.process_time() - busy, time.perf_counter() - began
print(json.dumps({"cpu_s": cpu, "wall_s": wall, "peak_bytes": memory.added_bytes, "iterations": result.iterations,
                  "weight": solver.resolved(problem).main_value(), "padded": result.details.get("padded_shape", [])}))
"""


def measure_scaling(
    names: Sequence[str], edges: Sequence[int], threads: Sequence[int], results: Path = SUITE_RESULTS,
    say: Callable[[str], Any] = print,
) -> list[Row]:  # fmt: skip
    """Measure solvers on cubes with several numbers of threads, and keep a row of each as soon as it is there.

    Parameters
    ----------
    names
        Of ``REPRESENTATIVES``.
    edges
        Of the cubes, in voxels.
    threads
        Numbers of threads.
    results
        Folder of the table.
    say
        Takes a line of progress.

    Returns
    -------
    list of Row
        All of the table.

    Raises
    ------
    ParameterError
        If a solver is unknown, or an edge or number of threads makes no sense.
    """
    _check(names, edges, threads)
    facts = provenance(shown=("--threads",))
    for edge in edges:
        for name in names:
            for count in threads:
                record = _measured(name, edge, count, facts)
                tags = {
                    "method": name, "engine": REPRESENTATIVES[name].engine, "edge": str(edge), "threads": str(count)
                }  # fmt: skip
                merge_rows(TABLE, [Row(tags, record)], results, order=_order)
                found = record.failed or f"{record.cpu_s:.2f} s CPU, {record.wall_s:.2f} s, {record.peak_gib:.2f} GiB"
                say(f"{name} {edge}³, {count} threads: {found}")
    return read_rows(TABLE, results)


def _check(names: Sequence[str], edges: Sequence[int], threads: Sequence[int]) -> None:
    for name in names:
        if name not in REPRESENTATIVES:
            raise ParameterError(f"method '{name}' stands for no engine{did_you_mean(name, REPRESENTATIVES)}")
    for edge in edges:
        if not SMALLEST <= edge <= LARGEST:
            raise ParameterError(f"size {edge}: expected the edge of a cube of {SMALLEST} to {LARGEST} voxels")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for count in threads:
        if not 1 <= count <= cores:
            raise ParameterError(f"threads {count}: expected 1 to {cores}, the cores of this machine")


def _measured(name: str, edge: int, threads: int, facts: dict[str, Any]) -> Record:
    parameters = REPRESENTATIVES[name].parameters
    job = {
        "solver": name, "case": f"synthetic {edge}³", "weight": "default", "parameters": parameters,
        "magnitude": True, "prepare": "", "measure": "",
    }  # fmt: skip
    asked = [name, edge, threads, parameters]
    key = hashlib.sha256(json.dumps([asked, facts["sources"]], sort_keys=True).encode()).hexdigest()[:24]
    record = Record(key, job, threads=threads, provenance=dict(facts), metrics=dict.fromkeys(METRICS))
    record.not_computed = dict.fromkeys(METRICS, "speed only")
    record.weight_name = make_solver(name).main_parameter().name
    variables = {**os.environ, "OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(asked)], capture_output=True, text=True, env=variables, check=False
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        record.failed = said[-1] if said else f"it ended with exit code {done.returncode}"
        return record
    found = json.loads(done.stdout)
    record.cpu_s, record.wall_s, record.iterations = found["cpu_s"], found["wall_s"], found["iterations"]
    record.peak_gib, record.weight, record.converged = found["peak_bytes"] / GIB, found["weight"], True
    record.extras = {"padded_shape": found["padded"], "peak_volumes": found["peak_bytes"] / (4 * edge**3)}
    return record


def _order(row: Row) -> tuple[int, int, int]:
    return (list(REPRESENTATIVES).index(row.tags["method"]), int(row.tags["edge"]), int(row.tags["threads"]))


def scaling_table(rows: Sequence[Row]) -> str:
    """A line for every solver and cube, the numbers of threads beside each other."""
    counts = sorted({int(row.tags["threads"]) for row in rows})
    found = {(row.tags["method"], int(row.tags["edge"]), int(row.tags["threads"])): row.record for row in rows}
    head = ["method", "engine", "voxels", "iterations"]
    for count in counts:
        threads = f"{count} thread{'s' if count > 1 else ''}"
        head += [f"CPU s, {threads}", f"s, {threads}"]
    lines = []
    for name, edge in dict.fromkeys((name, edge) for name, edge, _ in found):
        records = [found.get((name, edge, count)) for count in counts]
        there = [record for record in records if record is not None and not record.failed]
        if not there:
            continue
        each = 1e6 * (there[0].cpu_s or 0.0) / edge**3
        cells = []
        for record in records:
            wall = None if record is None or record.failed else record.wall_s
            cells += [seconds(None if record is None else record.cpu_s), seconds(wall)]
        memory = max(record.peak_gib or 0.0 for record in there)
        volumes = max(record.extras["peak_volumes"] for record in there)
        engine = REPRESENTATIVES[name].engine if name in REPRESENTATIVES else "–"
        shown = str(there[0].iterations) if there[0].iterations else "–"
        lines.append(
            [f"`{name}`", engine, f"{edge}³", shown, *cells, number(each, 2), number(memory, 2), number(volumes)]
        )
    table = markdown([*head, "CPU µs a voxel", "GiB", "volumes"], lines)
    return "\n\n".join(filter(None, [table, failures(rows)])) if rows else "Nothing is stored."
