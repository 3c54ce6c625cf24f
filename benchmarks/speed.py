"""Speed and memory of the iterative solvers: ``python -m benchmarks.speed``.

For each grid and solver: time of one iteration, time of the Fourier transforms that it holds (by this package's own
transforms and, for comparison, by FFTW's three-dimensional plans, in the same process), peak memory in volumes of the
padded grid, and start-up time with empty and with filled caches.  Medians; JSON in ``benchmarks/results``.
``--all`` takes every solver on the ADMM engine.  ``--converge`` times whole runs with default settings on the full-size
phantom instead, ``--morphology`` measures ``medi``, ``tfi`` and ``mctfi``; each has its own file.

``--against PEER`` runs other programs on the same files and scores them by the same scorer, beside our
methods; ``--scaling`` measures one solver of every engine over volumes and threads.  Their rows are those of the suite.
``--baseline`` solves with another build of this package and with this one in turns.
Any of them with ``--show`` measures nothing and prints what is stored; ``--results`` names another folder.
Exit code 0: done, programs that are not there are named; 2: bad usage or data; 130: interrupted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.baseline import METHODS as COMPARED
from benchmarks.baseline import TABLE as BASELINE
from benchmarks.baseline import baseline_table, compare_builds
from benchmarks.peers.compare import TABLE as AGAINST
from benchmarks.peers.compare import against_table, compare
from benchmarks.peers.peer import Limits
from benchmarks.peers.specification import KINDS, parse_peer
from benchmarks.scaling import EDGES, REPRESENTATIVES, measure_scaling, scaling_table
from benchmarks.scaling import TABLE as SCALING
from benchmarks.speed_converge import TABLE as CONVERGED
from benchmarks.speed_converge import converge, format_converged
from benchmarks.speed_morphology import TABLE as MORPHOLOGY
from benchmarks.speed_morphology import format_morphology_row, measure_morphology
from benchmarks.suite.cases import full_specification
from benchmarks.suite.command import BenchmarkParser, guarded
from benchmarks.suite.store import SUITE_RESULTS, read_rows
from benchmarks.timing import (
    RESULTS,
    four_transforms_seconds,
    machine,
    median_seconds,
    save_results,
    stored_results,
)
from qsm_recon import Grid, Problem, make_solver
from qsm_recon.backend.threads import thread_count
from qsm_recon.errors import ParameterError
from qsm_recon.operators.padding import padded_shape

GRIDS = ((160, 160, 160), (164, 205, 205))
FOUNDATION = ("tv", "fansi")
# Real Fourier transforms in one iteration.
TRANSFORMS = {
    "tv": 4, "fansi": 4, "wl1": 4, "l1qsm": 4, "wl1l2": 4, "tgv": 10, "fansi-tgv": 10, "wh-qsm": 6, "wh-nlqsm": 6,
}  # fmt: skip
ITERATIONS = 30
ROUNDS = 3
NOTHING_STORED = "interrupted: nothing was stored"
STORED = "interrupted: what was measured is stored; the same command measures again"

START_UP = """
import time; began = time.perf_counter()
import numpy as np
from qsm_recon import Grid, Problem, make_solver
shape = (164, 205, 205)
field = np.random.default_rng(0).standard_normal(shape).astype(np.float32) * 0.02
problem = Problem(field, np.ones(shape, bool), Grid(shape), b0_tesla=3.0, echo_times_s=(0.02,))
ready = []
def first(state):
    ready.append(time.perf_counter() - began)
    return len(ready) < 2
make_solver("{solver}").solve(problem, callback=first)
print(ready[0], ready[1] - ready[0])
"""


def synthetic_problem(shape: tuple[int, int, int]) -> Problem:
    """Return a field of realistic spread inside an ellipsoidal mask; timing does not depend on more."""
    rng = np.random.default_rng(0)
    axes = np.ix_(*(np.linspace(-1.1, 1.1, n) for n in shape))
    mask = np.asarray(sum(a * a for a in axes) < 1)
    field = (0.02 * rng.standard_normal(shape)).astype(np.float32) * mask
    magnitude = rng.uniform(0.3, 1, shape).astype(np.float32) * mask
    return Problem(field, mask, Grid(shape), magnitude=magnitude, b0_tesla=3.0, echo_times_s=(0.02,))


def iteration_seconds(solver: str, problem: Problem) -> list[float]:
    """Wall-clock time of each iteration of a solver, the first few left out."""
    stamps: list[float] = []
    make_solver(solver, max_iterations=ITERATIONS, tolerance=0.0).solve(
        problem, callback=lambda _state: stamps.append(time.perf_counter())
    )
    return np.diff(stamps)[3:].tolist()


def four_library_transforms_seconds(shape: tuple[int, int, int]) -> float | None:
    """The same by FFTW's own threaded three-dimensional plans."""
    try:
        import pyfftw
    except ImportError:
        return None
    image = pyfftw.empty_aligned(shape, "float32")
    spectrum = pyfftw.empty_aligned((*shape[:2], shape[2] // 2 + 1), "complex64")
    options = {"axes": (0, 1, 2), "threads": thread_count(), "flags": ("FFTW_MEASURE",)}
    forward = pyfftw.FFTW(image, spectrum, direction="FFTW_FORWARD", **options)
    inverse = pyfftw.FFTW(spectrum, image, direction="FFTW_BACKWARD", **options)
    image[:] = 0

    def four() -> None:
        for _ in range(2):
            forward.execute()
            inverse.execute()

    return median_seconds(four)


def peak_volumes(solver: str, shape: tuple[int, int, int]) -> float:
    """Peak memory of a solve above the interpreter with its inputs, in float32 volumes of the padded grid."""
    code = (
        "from benchmarks.speed import make_solver, synthetic_problem\n"
        "from benchmarks.timing import PeakMemory\n"
        f"problem = synthetic_problem({shape})\n"
        f"make_solver('{solver}', max_iterations=2).solve(synthetic_problem((16, 16, 16)))\n"
        f"with PeakMemory() as memory:\n    make_solver('{solver}', max_iterations=5).solve(problem)\n"
        "print(memory.added_bytes)"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return float(printed) / (4 * np.prod(padded_shape(shape)))


def start_up_seconds(solver: str) -> dict[str, float]:
    """Time from a fresh interpreter to the end of the first iteration, less one iteration's time."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "QSM_RECON_CACHE": cache}
        environment.pop("NUMBA_CACHE_DIR", None)
        runs = []
        for _ in range(4):
            printed = subprocess.run(
                [sys.executable, "-c", START_UP.format(solver=solver)],
                check=True, capture_output=True, text=True, env=environment,
            ).stdout  # fmt: skip
            first, iteration = (float(word) for word in printed.split())
            runs.append(first - iteration)
    return {"cold": runs[0], "warm": statistics.median(runs[1:])}


def measure(solver_names: tuple[str, ...], grids: tuple[tuple[int, int, int], ...], rounds: int) -> dict[str, Any]:
    """Measure everything; transforms and iterations alternate so that both see the same machine."""
    rows = []
    for shape in grids:
        padded = padded_shape(shape)
        problem = synthetic_problem(shape)
        transforms = []
        iterations: dict[str, list[float]] = {name: [] for name in solver_names}
        for _ in range(rounds):
            transforms.append(four_transforms_seconds(padded))
            for name in solver_names:
                iterations[name].extend(iteration_seconds(name, problem))
        library = four_library_transforms_seconds(padded)
        four = statistics.median(transforms)
        for name in solver_names:
            one = statistics.median(iterations[name])
            share = TRANSFORMS[name] / 4
            rows.append(
                {
                    "solver": name,
                    "shape": list(shape),
                    "padded_shape": list(padded),
                    "iteration_s": one,
                    "transforms": TRANSFORMS[name],
                    "transforms_s": share * four,
                    "ratio": one / (share * four),
                    "library_transforms_s": share * library if library else None,
                    "ratio_to_library": one / (share * library) if library else None,
                    "peak_volumes": peak_volumes(name, shape),
                }
            )
            print(format_row(rows[-1]), flush=True)
    return {
        "machine": machine(),
        "threads": thread_count(),
        "rows": rows,
        "start_up_s": {name: start_up_seconds(name) for name in FOUNDATION},
    }


def format_row(row: dict[str, Any]) -> str:
    """One line of the printed table."""
    shape = "×".join(str(n) for n in row["shape"])
    library = row["library_transforms_s"]
    return (
        f"{row['solver']:>10} {shape:>13}  iteration {1e3 * row['iteration_s']:7.1f} ms   "
        f"its {row['transforms']} transforms {1e3 * row['transforms_s']:7.1f} ms   ratio {row['ratio']:.2f}   "
        + (f"(FFTW 3D: {1e3 * library:7.1f} ms, ratio {row['ratio_to_library']:.2f})   " if library else "")
        + f"peak {row['peak_volumes']:.1f} volumes"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print."""
    options = command_parser().parse_args(arguments)
    modes: tuple[tuple[bool, Callable[[argparse.Namespace], int], str], ...] = (
        (options.against is not None, _against, STORED),
        (options.baseline is not None, _baseline, STORED),
        (options.scaling, _scaling, STORED),
        (options.morphology is not None, _morphology, STORED),
        (options.converge is not None, _converge, NOTHING_STORED),
        (True, _iterations, NOTHING_STORED),
    )
    mode, interrupted = next((run, said) for asked, run, said in modes if asked)

    def checked() -> int:
        _require_taken(options, mode)
        return mode(options)

    return guarded(checked, interrupted=interrupted)


def _require_taken(options: argparse.Namespace, mode: Callable[[argparse.Namespace], int]) -> None:
    """Refuse options that what is measured does not take, rather than measure something else than was asked for."""
    takers: dict[str, tuple[Callable[[argparse.Namespace], int], ...]] = {
        "data": (_against, _baseline), "only": (_baseline, _scaling), "sizes": (_scaling,), "limit": (_against,),
        "threads": (_against, _scaling), "ours": (_against,), "all": (_iterations,),
        "rounds": (_against, _baseline, _converge, _iterations), "converge": (_converge,), "morphology": (_morphology,),
        "scaling": (_scaling,), "baseline": (_baseline,), "against": (_against,),
    }  # fmt: skip
    usual = command_parser().parse_args([])
    for name, taking in takers.items():
        if mode not in taking and getattr(options, name) != getattr(usual, name):
            modes = [f"--{taker.__name__.strip('_')}" for taker in taking if taker is not _iterations]
            where = " or ".join(modes) or "none of the other modes"
            raise ParameterError(f"--{name}: what is to be measured does not take it; it goes with {where}")


def _iterations(options: argparse.Namespace) -> int:
    names, table = (tuple(TRANSFORMS), "speed_all") if options.all else (FOUNDATION, "speed")
    folder = options.results or RESULTS
    if options.show:
        found = stored_results(table, folder)
        _print_stored([format_row(row) for row in found["rows"]])
    else:
        found = measure(names, GRIDS, options.rounds or ROUNDS)
    for name, seconds in found.get("start_up_s", {}).items():
        print(f"{name:>8} start-up to the first iteration: cold {seconds['cold']:.1f} s, warm {seconds['warm']:.1f} s")
    if not options.show:
        print(f"written to {save_results(table, found, folder)}")
    return 0


def _converge(options: argparse.Namespace) -> int:
    folder = options.results or RESULTS
    if options.show:
        _print_stored([format_converged(row) for row in stored_results(CONVERGED, folder)["rows"]])
    else:
        names = options.converge or tuple(TRANSFORMS)
        print(f"written to {converge(names, options.rounds or ROUNDS, folder)}")
    return 0


def _morphology(options: argparse.Namespace) -> int:
    folder = options.results or RESULTS
    if options.show:
        _print_stored([format_morphology_row(row) for row in stored_results(MORPHOLOGY, folder)["rows"]])
        return 0
    for field in options.morphology or ("local", "total"):
        print(f"written to {measure_morphology(field, folder)}")
    return 0


def _print_stored(lines: Sequence[str]) -> None:
    print("\n".join(lines) if lines else "Nothing is stored.")


def command_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = BenchmarkParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, help=f"how often what is compared takes turns (default {ROUNDS}; 1 with --against)"
    )
    parser.add_argument("--all", action="store_true", help="every solver on the ADMM engine, not tv and fansi only")
    parser.add_argument(
        "--converge", nargs="*", choices=tuple(TRANSFORMS), metavar="NAME",
        help="time these (or all) to convergence on the full-size phantom, and nothing else",
    )  # fmt: skip
    parser.add_argument(
        "--morphology", nargs="*", choices=("local", "total"),
        help="medi, tfi and mctfi on the full-size phantom's local or total field",
    )  # fmt: skip
    add_comparison_options(parser)
    return parser


def add_comparison_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``--against`` and ``--scaling``."""
    kinds = "; ".join(KINDS.values())
    group = parser.add_argument_group("other programs, and scaling")
    group.add_argument("--against", nargs="+", metavar="PEER", help=f"{kinds}; LABEL=PEER names it in the table")
    group.add_argument(
        "--ours", nargs="*", default=["tv", "fansi", "medi"], metavar="METHOD",
        help="methods of this package beside them, METHOD?NAME=VALUE sets a parameter (default tv fansi medi)",
    )  # fmt: skip
    group.add_argument(
        "--data", default="phantom:sim2?size=reduced", metavar="CASE", help="as of benchmarks.rc2 (default %(default)s)"
    )
    group.add_argument(
        "--baseline", metavar="PATH_OR_TAG", help="another build of this package, beside this one (--only, --data)"
    )
    group.add_argument("--scaling", action="store_true", help="seconds and memory over volumes and threads")
    group.add_argument("--only", nargs="+", metavar="METHOD", help=f"with --scaling, of {', '.join(REPRESENTATIVES)}")
    group.add_argument(
        "--sizes", nargs="+", type=int, default=list(EDGES), metavar="N", help="edges of the cubes, voxels"
    )
    group.add_argument(
        "--threads", nargs="+", type=int, default=[1], metavar="N", help="with --scaling several (default 1)"
    )
    group.add_argument(
        "--limit", type=float, default=3600, metavar="S", help="seconds a program may take (default 3600)"
    )
    everything = parser.add_argument_group("results, whatever is measured")
    everything.add_argument(
        "--results",
        type=Path,
        metavar="DIR",
        help="where they are stored (default: benchmarks/results, or suite in it)",
    )
    everything.add_argument("--show", action="store_true", help="measure nothing, print what is stored")


def _against(options: argparse.Namespace) -> int:
    limits = Limits(options.threads[0], options.limit)
    rounds = 1 if options.rounds is None else options.rounds
    require_positive("--threads", *options.threads)
    require_positive("--limit", options.limit)
    require_positive("--rounds", rounds)
    peers = [parse_peer(text) for text in (*options.against, *(f"ours:{name}" for name in options.ours))]
    folder = options.results or SUITE_RESULTS
    rows = (
        read_rows(AGAINST, folder) if options.show
        else compare(peers, full_specification(options.data), limits=limits, rounds=rounds, results=folder)
    )  # fmt: skip
    print(against_table(rows))
    return 0


def _baseline(options: argparse.Namespace) -> int:
    rounds = 3 if options.rounds is None else options.rounds
    require_positive("--rounds", rounds)
    folder, methods = options.results or RESULTS, options.only or COMPARED
    rows = (
        stored_results(BASELINE, folder)["rows"] if options.show
        else compare_builds(options.baseline, methods, full_specification(options.data), rounds, folder)
    )  # fmt: skip
    _print_stored([f"\n{baseline_table(rows)}"] if rows else [])
    return 0


def _scaling(options: argparse.Namespace) -> int:
    names = options.only or list(REPRESENTATIVES)
    folder = options.results or SUITE_RESULTS
    rows = (
        read_rows(SCALING, folder) if options.show
        else measure_scaling(names, options.sizes, options.threads, folder)
    )  # fmt: skip
    print(scaling_table(rows))
    return 0


def require_positive(option: str, *values: float) -> None:
    """Refuse a number that makes no sense.

    Raises
    ------
    ParameterError
        Naming the option.
    """
    for value in values:
        if not value > 0:
            raise ParameterError(f"{option}: expected a positive number, found {value:g}")


if __name__ == "__main__":
    sys.exit(main())
