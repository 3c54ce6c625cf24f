"""How exactly the inner systems need solving: ``python -m benchmarks.inner_accuracy``.

On the reduced phantom (SIM2, SNR 100): objective, error and work of ``medi`` over inner tolerance and limit, outer
tolerance and k-space preconditioning, and both signal models of ``mctfi`` over outer iterations.  JSON in
``benchmarks/results``.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks.best_weight import score
from benchmarks.timing import machine, save_results
from qsm_recon import load_case, make_solver
from qsm_recon.datasets.case import Case

INNER: tuple[dict[str, Any], ...] = (
    {},
    {"cg_tolerance": 0.3},
    {"cg_tolerance": 0.03, "cg_iterations": 60},
    {"cg_tolerance": 0.01, "cg_iterations": 100},
    {"cg_tolerance": 0.01, "cg_iterations": 100, "update_tolerance": 0.003, "max_iterations": 30},
    {"update_tolerance": 0.1},
    {"update_tolerance": 0.01},
    {"circulant": False},
    {"cg_tolerance": 0.01, "cg_iterations": 100, "circulant": False},
)
MODELS: tuple[dict[str, Any], ...] = tuple(
    {"model": model, **more}
    for model in ("full", "reduced")
    for more in ({}, {"max_iterations": 6, "update_tolerance": 0.0})
)
METRICS = ("nrmse", "dnrmse_blood", "dnrmse_dgm", "calcification_streaking", "calcification_moment_deviation")


def run(case: Case, solver: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Solve, score and print; seconds are the processor's, which other programs do not lengthen."""
    began = time.process_time()
    result = make_solver(solver, **parameters).solve(case.problem)
    seconds = time.process_time() - began
    values = score(case, result).values
    inner = sum(result.history["cg_iterations"]) + result.details.get("field_cg_iterations", 0)
    row = {
        "solver": solver,
        "parameters": parameters,
        "objective": result.history["objective"][-1],
        "outer": result.iterations,
        "inner": inner,
        "processor_s": seconds,
        **{name: values[name] for name in METRICS},
    }
    chosen = " ".join(f"{name}={value}" for name, value in parameters.items()) or "defaults"
    errors = "  ".join(f"{name} {values[name]:.3g}" for name in METRICS)
    print(
        f"{solver:>6} {chosen:<75} objective {row['objective']:.5f}  {row['outer']} outer {inner:.0f} inner "
        f"{seconds:.1f} s  {errors}",
        flush=True,
    )
    return row


def main() -> None:
    """Run and print."""
    case = load_case("phantom:sim2?size=reduced")
    for solver in ("medi", "mctfi"):
        make_solver(solver, max_iterations=1, cg_iterations=1).solve(case.problem)  # compiles, plans
    rows = [run(case, "medi", parameters) for parameters in INNER]
    rows += [run(case, "mctfi", parameters) for parameters in MODELS]
    print(f"written to {save_results('inner_accuracy', {'machine': machine(), 'rows': rows})}")


if __name__ == "__main__":
    main()
