"""Choosing the parameter without the truth: ``python -m benchmarks.selection``.

For every method and data set a sweep with every rule's pick, and the error there against the best on the path.  The
error at a pick is that of a reconstruction with exactly that value, run to the method's own tolerance.  Also the price
of a sweep: its time against one cold solve, and against a sweep of cold solves.  JSON in ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import machine, save_results
from qsm_recon.datasets.case import Case
from qsm_recon.datasets.registry import load_case
from qsm_recon.metrics import evaluate
from qsm_recon.report.tuning import TuningSession
from qsm_recon.select.path import sweep_values
from qsm_recon.select.session import SessionCase
from qsm_recon.select.tune import run_session
from qsm_recon.solvers.registry import make_solver, solvers

METHODS = ("tkd", "tikhonov", "tv", "fansi", "l1qsm", "wl1l2", "medi")
PHANTOMS = tuple(f"phantom:{simulation}?snr={snr}" for simulation in ("sim1", "sim2") for snr in (100, 1000))
# `auto` was decided on these: other heads, other noise, other signal-to-noise ratios.
TRAINING = (
    "phantom:sim1?seed=7&snr=200",
    "phantom:sim2?seed=7&snr=50",
    "phantom:sim2?seed=9&snr=500",
    "phantom:sim1?seed=11&snr=1500",
)
RC1 = Path(__file__).resolve().parents[2] / "shared" / "data" / "rc1"
POINTS = 15
GOAL_PERCENTAGE_POINTS = 2.0


def nrmse(case: Case, susceptibility_ppm: NDArray) -> float:
    """Error (%) of a map."""
    assert case.truth is not None
    scores = evaluate(
        susceptibility_ppm, case.truth.susceptibility_ppm, case.evaluation_mask, similarity=False
    )  # fmt: skip
    value = scores.values["nrmse"]
    assert value is not None
    return value


def measure(name: str, case: Case) -> dict[str, Any]:
    """Sweep one method over one data set; the error on the path and at every rule's pick."""
    solver = make_solver(name)
    with tempfile.TemporaryDirectory() as folder:
        described = SessionCase.of(case.name, case.problem, case.affine, [])
        session = TuningSession.open(Path(folder) / "session", solver, None, [described])
        began = time.perf_counter()
        run_session(
            session, [case.problem], sweep_values(solver, count=POINTS),
            metrics=[lambda image: {"nrmse": nrmse(case, image)}],
        )  # fmt: skip
        seconds = time.perf_counter() - began
        points, picks = session.of_case(0), session.picks()
    errors = [point.metrics["nrmse"] or np.nan for point in points]
    best = int(np.argmin(errors))
    rows = {}
    for pick in picks:
        error = None
        if pick.value is not None:
            error = nrmse(case, solver.with_regularisation(pick.value).solve(case.problem).susceptibility_ppm)
        rows[pick.method] = {"value": pick.value, "nrmse": error, "confidence": pick.confidence, "reason": pick.reason}
    # The best of the sweep, at the same accuracy as the picks; a pick may lie between points and be better still.
    reached = nrmse(case, solver.with_regularisation(points[best].value).solve(case.problem).susceptibility_ppm)
    lowest = min([reached, *(row["nrmse"] for row in rows.values() if row["nrmse"] is not None)])
    return {
        "method": name,
        "best": {"value": points[best].value, "nrmse": lowest},
        "default": {"nrmse": nrmse(case, solver.solve(case.problem).susceptibility_ppm)},
        "picks": rows,
        "path": [
            {"value": point.value, "nrmse": error, "iterations": point.iterations}
            for point, error in zip(points, errors, strict=True)
        ],
        "session_s": seconds,
    }


def price(name: str, case: Case, *, cold_sweep: bool) -> dict[str, float]:
    """Time of a sweep of 15 points, of one cold solve with the default, and of the sweep from cold starts."""
    from qsm_recon.select.path import Path as Sweep

    solver = make_solver(name)
    solver.solve(case.problem)  # plans and compiled kernels
    began = time.perf_counter()
    single = solver.solve(case.problem)
    one = time.perf_counter() - began
    began = time.perf_counter()
    points = list(Sweep(solver, case.problem).sweep(sweep_values(solver, count=POINTS)))
    sweep = time.perf_counter() - began
    found = {
        "one_cold_solve_s": one,
        "one_cold_solve_iterations": single.iterations,
        "sweep_s": sweep,
        "sweep_iterations": sum(point.iterations for point in points),
        "ratio": sweep / one,
    }
    if cold_sweep:
        began = time.perf_counter()
        cold = [solver.with_regularisation(point.value).solve(case.problem) for point in points]
        found["cold_sweep_s"] = time.perf_counter() - began
        found["cold_sweep_iterations"] = sum(result.iterations for result in cold)
        found["gain_over_cold"] = found["cold_sweep_s"] / sweep
    return found


def format_row(data_set: str, row: dict[str, Any]) -> str:
    """One line of the printed table: the best, then what each rule loses against it."""
    cells = []
    for method, pick in row["picks"].items():
        loss = "none" if pick["nrmse"] is None else f"{pick['nrmse'] - row['best']['nrmse']:+.1f}"
        cells.append(f"{method} {loss:>6}")
    default = row["default"]["nrmse"] - row["best"]["nrmse"]
    return (
        f"{data_set:<34}{row['method']:<9} best {row['best']['nrmse']:5.1f} % at {row['best']['value']:8.2g}  "
        + "  ".join(cells)
        + f"  default {default:+.1f}"
    )


def data_sets(choice: str, size: str) -> list[str]:
    """Data sets of a table."""
    if choice == "rc1":
        return [f"rc1:{RC1}"]
    return [f"{specification}&size={size}" for specification in (PHANTOMS if choice == "phantoms" else TRAINING)]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("phantoms", "rc1", "training"), nargs="+", default=["phantoms", "rc1"])
    parser.add_argument("--size", choices=("full", "reduced"), default="full")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--price", action="store_true", help="only the price of a sweep of fansi")
    options = parser.parse_args()
    if options.price:
        case = load_case(f"phantom:sim2?size={options.size}")
        found = {"machine": machine(), "size": options.size, "fansi": price("fansi", case, cold_sweep=True)}
        print(found["fansi"])
        print(f"written to {save_results(f'selection_price_{options.size}', found)}")
        return
    tables = []
    for choice in options.data:
        if choice == "rc1" and not RC1.is_dir():
            print(f"rc1: left out, {RC1} is not here")
            continue
        for specification in data_sets(choice, options.size):
            case = load_case(specification)
            label = "rc1" if choice == "rc1" else specification.removeprefix("phantom:")
            for name in options.methods:
                if name not in solvers():
                    print(f"{name}: left out, there is no such method")
                    continue
                row = measure(name, case)
                tables.append({"data_set": label, "kind": choice, **row})
                print(format_row(label, row), flush=True)
    exceeded = [
        row for row in tables
        if row["kind"] != "rc1" and solvers()[row["method"]].iterative and not within_goal(row)
    ]  # fmt: skip
    print(f"auto loses more than {GOAL_PERCENTAGE_POINTS:g} percentage points in {len(exceeded)} rows of {len(tables)}")
    results = {"machine": machine(), "size": options.size, "rows": tables}
    print(f"written to {save_results('selection_' + '_'.join(options.data) + '_' + options.size, results)}")


def within_goal(row: dict[str, Any]) -> bool:
    """Whether `auto` found something, and it is near enough to the best."""
    error = row["picks"]["auto"]["nrmse"]
    return error is not None and error - row["best"]["nrmse"] <= GOAL_PERCENTAGE_POINTS


if __name__ == "__main__":
    main()
