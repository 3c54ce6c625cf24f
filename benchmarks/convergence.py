"""How near to the minimum default settings end: ``python -m benchmarks.convergence``.

Every method on the ADMM engine on full-size SIM2 (or other data): the objective where it stops by itself against the
lowest of a long run, in per cent, and what the last fifth of the long run still brought.  JSON in
``benchmarks/results``.
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.timing import save_rows
from qsm_recon import load_case, make_solver
from qsm_recon.datasets.case import Case

SOLVERS = ("tv", "fansi", "wl1", "l1qsm", "wl1l2", "wh-qsm", "wh-nlqsm", "tgv", "fansi-tgv")
GOAL_PERCENT = 0.1


def measure(name: str, case: Case, iterations: int) -> dict[str, Any]:
    """Run a solver as it comes, and for a given number of iterations."""
    default = make_solver(name).solve(case.problem)
    long = make_solver(name, max_iterations=iterations, tolerance=0.0, residual_tolerance=0.0).solve(case.problem)
    objective = long.history["objective"]
    lowest = min(objective)
    return {
        "solver": name,
        "data_set": case.name,
        "iterations": default.iterations,
        "converged": default.converged,
        "seconds": default.timings_s["solve"],
        "above_minimum_percent": 100 * (default.history["objective"][-1] / lowest - 1),
        "long_iterations": iterations,
        "last_fifth_percent": 100 * (min(objective[: -len(objective) // 5]) / lowest - 1),
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="phantom:sim2?size=full", help="data set, as for qsm_recon.run --dataset")
    parser.add_argument("--only", nargs="*", default=list(SOLVERS), help="names of solvers")
    parser.add_argument("--iterations", type=int, default=1200, help="of the long run")
    options = parser.parse_args()
    case = load_case(options.data)
    missed = 0
    for name in options.only:
        row = measure(name, case, options.iterations)
        missed += row["above_minimum_percent"] > GOAL_PERCENT
        path = save_rows("convergence", [row], ("solver", "data_set"))
        print(
            f"{name:>10} {row['data_set']}: {row['iterations']} iterations, {row['seconds']:.1f} s, "
            f"{row['above_minimum_percent']:.3f} % above the lowest of {options.iterations} iterations "
            f"(whose last fifth brought {row['last_fifth_percent']:.4f} %)",
            flush=True,
        )
    print(f"{missed} of {len(options.only)} end more than {GOAL_PERCENT} % above; written to {path}")


if __name__ == "__main__":
    main()
