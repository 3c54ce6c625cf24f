"""Whole runs with default settings on the full-size phantom, for ``benchmarks.speed --converge``."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.timing import RESULTS, four_transforms_seconds, save_rows
from qsm_recon import make_solver
from qsm_recon.result import Reconstruction

TABLE = "speed_converge"


def converge(names: Sequence[str], rounds: int, folder: Path = RESULTS) -> Path:
    """Time runs with default settings on full-size SIM2 (SNR 100, multi-echo fit), solvers taking turns.

    The four transforms of the grid that is computed on are timed beside every run: a shared machine's speed changes.
    """
    from qsm_recon import load_case

    problem = load_case("phantom:sim2?size=full").problem
    runs: dict[str, list[Reconstruction]] = {name: [] for name in names}
    transforms: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            result = make_solver(name).solve(problem)
            runs[name].append(result)
            transforms[name].append(four_transforms_seconds(tuple(result.details["padded_shape"])))
    rows = []
    for name, results in runs.items():
        seconds = statistics.median(result.timings_s["solve"] for result in results)
        row = {
            "solver": name,
            "rounds": rounds,
            "seconds": seconds,
            "seconds_of_all": [result.timings_s["solve"] for result in results],
            "iterations": results[-1].iterations,
            "converged": results[-1].converged,
            "padded_shape": results[-1].details["padded_shape"],
            "four_transforms_s": statistics.median(transforms[name]),
        }
        rows.append(row)
        print(format_converged(row))
    return save_rows(TABLE, rows, ("solver",), folder)


def format_converged(row: dict[str, Any]) -> str:
    """One line of what is printed of a whole run."""
    return (
        f"{row['solver']:>10} to convergence: {row['seconds']:.1f} s, {row['iterations']} iterations "
        f"(four transforms there: {1e3 * row['four_transforms_s']:.0f} ms)"
    )
