"""Predicted and measured memory of every method: ``python -m benchmarks.memory``.

Each method solves two heads of different size in an image that is larger than they are, each in a process of its own;
what the solve adds to the process at its peak is put beside what :meth:`Solver.memory_bytes` says beforehand.  Printed,
and stored with ``--save``.  Needs Linux, which tells a process's peak.

``--baseline PATH_OR_TAG`` puts the peak of another build beside that of this one, on the field of ``--data``.
"""

from __future__ import annotations

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
from numpy.typing import NDArray

from benchmarks.baseline import LOADING, baseline_folder, store_problem
from benchmarks.suite.cases import load, portable
from benchmarks.suite.command import BenchmarkParser, guarded
from benchmarks.suite.table import markdown, number
from benchmarks.timing import return_unused_memory, save_rows
from qsm_recon import Grid, Problem, make_solver
from qsm_recon.backend.threads import set_thread_count, thread_count
from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.solvers.base import Solver
from qsm_recon.solvers.registry import solvers
from qsm_recon.units import rad_per_ppm

SHAPES = ((96, 112, 100), (160, 190, 170))
"""Images; the head takes :data:`HEAD` of each axis."""
HEAD = 0.75
TIMES_S, B0_TESLA = (0.006, 0.013, 0.020), 3.0
ENGINES = {
    "closed form": ("tkd", "tsvd", "tikhonov"),
    "ADMM": ("tv", "fansi", "wl1", "l1qsm", "wl1l2"),
    "ADMM, TGV": ("tgv", "fansi-tgv"),
    "ADMM, harmonic background": ("wh-qsm", "wh-nlqsm"),
    "ADMM, two steps": ("rts",),
    "descent": ("ndi",),
    "Gauss-Newton": ("medi", "tfi", "mctfi"),
    "network": ("qsminvnet", "fine"),
}
TABLE = "memory_baseline"
BASELINE_ROUNDS = 3
BASELINE_DATA = "phantom:sim2?size=full"
PEAK = (
    LOADING
    + """
import ctypes, gc
def entry(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))
name = sys.argv[2]
solver = make_solver(name, **json.loads(sys.argv[3]))
ones = np.ones((24, 24, 24), np.float32)
noise = 0.02 * np.random.default_rng(0).standard_normal(ones.shape).astype(np.float32)
solver.solve(Problem(noise, ones > 0, Grid(ones.shape), magnitude=ones, b0_tesla=3.0, echo_times_s=(0.02,), **kind))
gc.collect()
ctypes.CDLL(None).malloc_trim(0)  # what compiling left, which the solve would take without seeming to
before = entry("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
result = solver.solve(problem)
print(entry("VmHWM") - before)
"""
)
"""A child that prints what a solve adds to its process, by any build."""
RESULTS = Path(__file__).parent / "results" / "memory.json"


def head(shape: tuple[int, int, int], *, echoes: bool = False) -> Problem:
    """An ellipsoid that takes part of the image, with a field of noise in it."""
    rng = np.random.default_rng(0)
    axes = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    mask = np.asarray(sum(x * x for x in axes) <= HEAD**2)
    field = np.where(mask, 0.02 * rng.standard_normal(shape, dtype=np.float32), np.float32(0))
    magnitude = np.where(mask, rng.uniform(0.8, 1.0, shape), 0).astype(np.float32)
    signal: NDArray[np.complexfloating] | None = None
    if echoes:
        parts = [magnitude * np.exp(1j * rad_per_ppm(B0_TESLA, t) * field) for t in TIMES_S]
        signal = np.stack(parts, axis=-1).astype(np.complex64)
    return Problem(
        field, mask, Grid(shape, (1.0, 1.0, 1.2), (0.0, 0.2, 0.98)), magnitude=magnitude, b0_tesla=B0_TESLA,
        echo_times_s=TIMES_S, echoes=signal, field_kind="local",
    )  # fmt: skip


def short(name: str, **parameters: Any) -> Solver:
    """A method that does few iterations, of which the first have its peak."""
    declared = solvers()[name].declared()
    few = {key: 4 for key, p in declared.items() if "iterations" in key and p.kind is int and p.default}
    return make_solver(name, **{**few, **{key: value for key, value in parameters.items() if key in declared}})


def status_bytes(entry: str) -> int:
    """An entry of this process's status, in bytes: ``VmRSS`` now, ``VmHWM`` at most."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith(entry + ":"):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {entry}")


def measure_here(
    name: str, shape: tuple[int, int, int], precision: str = "single", threads: int | None = None
) -> tuple[int, float]:
    """Peak that a solve adds to this process, and what was predicted, in bytes."""
    set_thread_count(threads or thread_count())
    solver = short(name, precision=precision)
    solver.solve(head((24, 24, 24), echoes=name == "mctfi"))  # libraries and compiled kernels
    problem = head(shape, echoes=name == "mctfi")
    return_unused_memory()  # what compiling left, which the solve would take without seeming to
    before = status_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak starts anew
    predicted = solver.memory_bytes(problem)
    result = solver.solve(problem)
    peak = status_bytes("VmHWM") - before
    del result
    return peak, predicted


def measure(
    name: str, shape: tuple[int, int, int], precision: str = "single", threads: int | None = None
) -> tuple[int, float]:
    """The same in a process of its own."""
    asked = f"{name!r}, {shape!r}, {precision!r}, {threads!r}"
    code = f"from benchmarks.memory import measure_here; print(*measure_here({asked}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    peak, predicted = done.stdout.split()[-2:]
    return int(peak), float(predicted)


def compare_builds(where: str, methods: Sequence[str], data: str) -> list[dict[str, Any]]:
    """Measure peaks of another build and of this one in turns; each method's row is stored as it is made.

    Parameters
    ----------
    where
        Folder, commit or tag of the other build.
    methods
        Names.
    data
        Case whose field is solved for.

    Raises
    ------
    ParameterError
        If there is no such build.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        builds = (baseline_folder(where, scratch / "old"), Path(__file__).resolve().parents[1])
        problem = load(data).problem
        store_problem(problem, scratch / "problem.npz")
        volume = 4 * problem.mask.size
        for name in methods:
            few = {key: 4 for key, p in solvers()[name].declared().items() if "iterations" in key and p.default}
            rounds = [[peak_of_build(build, scratch, name, few) for build in builds] for _ in range(BASELINE_ROUNDS)]
            old, new = (statistics.median(found) for found in zip(*rounds, strict=True))
            row = {
                "solver": name, "data": portable(data), "baseline": Path(where).name, "rounds": BASELINE_ROUNDS,
                "volume_bytes": volume, "old_bytes": old, "new_bytes": new,
            }  # fmt: skip
            rows.append(row)
            save_rows(TABLE, [row], ("solver", "data", "baseline"))
            print(builds_table([row]).splitlines()[-1], flush=True)
    return rows


def builds_table(rows: Sequence[dict[str, Any]]) -> str:
    """Peaks of two builds, in MiB and in float32 volumes of the image."""
    lines = []
    for row in rows:
        old, new, volume = row["old_bytes"], row["new_bytes"], row["volume_bytes"]
        lines.append(
            [f"`{row['solver']}`", row["data"], row["baseline"], f"{old / 2**20:.0f} → {new / 2**20:.0f}",
             f"{old / volume:.1f} → {new / volume:.1f}", number(new / old, 2)]
        )  # fmt: skip
    return markdown(["method", "data", "beside", "MiB", "volumes of the image", "ratio"], lines)


def peak_of_build(build: Path, scratch: Path, name: str, parameters: dict[str, Any]) -> int:
    """Bytes that a solve by a build adds to its process at most."""
    environment = {**os.environ, "PYTHONPATH": str(build), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PEAK, str(scratch / "problem.npz"), name, json.dumps(parameters)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=build)
    return int(done.stdout.split()[-1])


def main() -> int:
    """Measure, print a table, and store it where asked to."""
    parser = BenchmarkParser(description=__doc__)
    parser.add_argument("--algo", action="append", metavar="NAME", help="only this method (may be given again)")
    parser.add_argument("--save", action="store_true", help=f"store the rows in {RESULTS.name}")
    parser.add_argument("--baseline", metavar="PATH_OR_TAG", help="put the peaks of another build beside these")
    parser.add_argument("--data", metavar="CASE", default=BASELINE_DATA, help=f"for --baseline ({BASELINE_DATA})")
    options = parser.parse_args()
    known = [name for names in ENGINES.values() for name in names]
    for name in options.algo or ():
        if name not in known:
            raise ParameterError(f"--algo: '{name}' is not measured{did_you_mean(name, known)}")
    if options.baseline:
        methods = options.algo or [name for name in known if name != "mctfi" and not solvers()[name].missing()]
        compare_builds(options.baseline, methods, options.data)
        return 0
    rows: list[dict[str, Any]] = []
    print(f"{'engine':<27}{'method':<11}{'image':<14}{'computed on':<14}{'predicted':>10}{'measured':>10}  difference")
    for engine, names in ENGINES.items():
        for name in names:
            if (options.algo and name not in options.algo) or solvers()[name].missing():
                continue
            for shape in SHAPES:
                peak, predicted = measure(name, shape)
                computed = make_solver(name).computed_shape(head(shape))
                row = {
                    "engine": engine, "method": name, "image": list(shape), "computed_on": list(computed),
                    "predicted_mib": predicted / 2**20, "measured_mib": peak / 2**20,
                    "difference_percent": 100 * (predicted / peak - 1),
                }  # fmt: skip
                rows.append(row)
                difference = f"{row['difference_percent']:+.0f} %"
                print(
                    f"{engine:<27}{name:<11}{'×'.join(map(str, shape)):<14}{'×'.join(map(str, computed)):<14}"
                    f"{row['predicted_mib']:>6.0f} MiB{row['measured_mib']:>6.0f} MiB  {difference}",
                    flush=True,
                )
    if not rows:
        raise ParameterError("--algo: none of these methods has all libraries that it needs; install qsm_recon[torch]")
    worst = max(rows, key=lambda row: abs(row["difference_percent"]))
    print(f"worst: {worst['method']}, {worst['difference_percent']:+.0f} %")
    if options.save:
        save_rows(RESULTS.stem, rows, key=("method", "image"))
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main, interrupted="interrupted"))
