"""Choosing the parameter without the truth: ``python -m benchmarks.selection``.

For every method and data set a sweep with every rule's pick, and the error there against the best on the path.  The
error at a pick is that of a reconstruction with exactly that value, run to the method's own tolerance.  Rows are stored
as they come (``benchmarks/results``); ``--missing`` computes those that are not there yet, ``--show`` only prints what
is.  Also the price of a sweep: its time against one cold solve, and against a sweep of cold solves.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import RESULTS, machine, save_results, save_rows
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
    "phantom:sim1?seed=23&snr=50",
    "phantom:sim2?seed=22&snr=1000",
    "phantom:sim2?seed=24&snr=3000",
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
            session, [case.problem], sweep_values(solver.resolved(case.problem), count=POINTS),
            metrics=[lambda image: {"nrmse": nrmse(case, image)}],
        )  # fmt: skip
        seconds = time.perf_counter() - began
        points, picks = session.of_case(0), session.picks()
    errors = [point.metrics["nrmse"] or np.nan for point in points]
    best = int(np.argmin(errors))
    known: dict[float, float] = {}

    def error_at(value: float) -> float:
        """Error with a value, computed once however many rules pick it."""
        if value not in known:
            known[value] = nrmse(case, solver.with_regularisation(value).solve(case.problem).susceptibility_ppm)
        return known[value]

    picked = {
        pick.method: {
            "value": pick.value,
            "nrmse": None if pick.value is None else error_at(pick.value),
            "confidence": pick.confidence,
            "reason": pick.reason,
        }
        for pick in picks
    }
    default = error_at(solver.resolved(case.problem).main_value())
    # The best of the sweep, at the same accuracy as the picks; a pick may lie between points and be better still.
    error_at(points[best].value)
    lowest = min(known, key=lambda value: known[value])
    return {
        "method": name,
        "best": {"value": lowest, "nrmse": known[lowest]},
        "default": {"nrmse": default},
        "picks": picked,
        "path": [
            {"value": point.value, "nrmse": error, "iterations": point.iterations}
            for point, error in zip(points, errors, strict=True)
        ],
        "session_s": seconds,
    }


def price(name: str, case: Case) -> dict[str, float]:
    """Time of a sweep of 15 points, of one cold solve with the default, and of the sweep from cold starts.

    Wall-clock time and, as that depends on what else the machine does, processor time and iterations.
    """
    from qsm_recon.select.path import Path as Sweep

    solver = make_solver(name)
    solver = solver.resolved(case.problem)
    values = sweep_values(solver, count=POINTS)
    solver.solve(case.problem, callback=lambda state: state.iteration < 3)  # plans and compiled kernels
    found: dict[str, float] = {}

    def timed(label: str, results: Iterable[Any]) -> None:
        began, busy = time.perf_counter(), time.process_time()
        found[f"{label}_iterations"] = sum(result.iterations for result in results)
        found[f"{label}_s"] = time.perf_counter() - began
        found[f"{label}_processor_s"] = time.process_time() - busy
        print(f"{label}: {found[f'{label}_iterations']} iterations, {found[f'{label}_s']:.1f} s", flush=True)

    timed("one_cold_solve", (solver.solve(case.problem) for _ in range(1)))
    timed("sweep", Sweep(solver, case.problem).sweep(values))
    timed("cold_sweep", (solver.with_regularisation(value).solve(case.problem) for value in values))
    for unit in ("s", "processor_s", "iterations"):
        found[f"sweep_over_one_{unit}"] = found[f"sweep_{unit}"] / found[f"one_cold_solve_{unit}"]
        found[f"cold_sweep_over_sweep_{unit}"] = found[f"cold_sweep_{unit}"] / found[f"sweep_{unit}"]
    return found


def losses(row: dict[str, Any]) -> dict[str, float | None]:
    """Percentage points that each rule loses against the best, and the default; None where a rule finds nothing."""
    errors = {**{method: pick["nrmse"] for method, pick in row["picks"].items()}, "default": row["default"]["nrmse"]}
    return {name: None if error is None else error - row["best"]["nrmse"] for name, error in errors.items()}


def format_row(row: dict[str, Any]) -> str:
    """One line of the table, in Markdown: the best, then what each rule loses against it."""
    cells = ["none" if loss is None else f"{loss:+.1f}" for loss in losses(row).values()]
    best = row["best"]
    return (
        "| "
        + " | ".join([row["data_set"], row["method"], f"{best['nrmse']:.1f}", f"{best['value']:.2g}", *cells])
        + " |"
    )


def format_heading(row: dict[str, Any]) -> str:
    """Heading of the table that a row is in."""
    names = ["data", "method", "best NRMSE %", "at", *losses(row)]
    return "| " + " | ".join(names) + " |\n|" + "---|" * len(names)


def data_sets(choice: str, size: str) -> dict[str, str]:
    """Data sets of a table, by the name they have there."""
    if choice == "rc1":
        return {"rc1": f"rc1:{RC1}"} if RC1.is_dir() else {}
    names = PHANTOMS if choice == "phantoms" else TRAINING
    return {name.removeprefix("phantom:"): f"{name}&size={size}" for name in names}


def table_name(choice: str, size: str) -> str:
    """Name of the file of results."""
    return "selection_rc1" if choice == "rc1" else f"selection_{choice}_{size}"


def stored_rows(choice: str, size: str) -> list[dict[str, Any]]:
    """Rows that there are already."""
    path = RESULTS / f"{table_name(choice, size)}.json"
    return json.loads(path.read_text())["rows"] if path.is_file() else []


def within_goal(row: dict[str, Any]) -> bool:
    """Whether `auto` found something, and it is near enough to the best."""
    loss = losses(row)["auto"]
    return loss is not None and loss <= GOAL_PERCENTAGE_POINTS


def make_table(choice: str, options: argparse.Namespace) -> None:
    """Compute and store the rows of a table one by one."""
    stored = {(row["data_set"], row["method"]) for row in stored_rows(choice, options.size)}
    for label, specification in data_sets(choice, options.size).items():
        wanted = [name for name in options.methods if not (options.missing and (label, name) in stored)]
        case = load_case(specification) if wanted else None
        for name in wanted:
            assert case is not None
            row = {"data_set": label, **measure(name, case)}
            save_rows(table_name(choice, options.size), [row], ("data_set", "method"))
            print(format_row(row), flush=True)


def show_table(choice: str, options: argparse.Namespace) -> None:
    """Print the rows that are stored, in the usual order, and how `auto` did."""
    order = list(data_sets(choice, options.size))
    rows = [row for row in stored_rows(choice, options.size) if row["data_set"] in order and row["method"] in METHODS]
    if not rows:
        print(f"{choice}, {options.size}: nothing is stored")
        return
    rows.sort(key=lambda row: (METHODS.index(row["method"]), order.index(row["data_set"])))
    print(format_heading(rows[0]))
    for row in rows:
        print(format_row(row))
    counted = [row for row in rows if solvers()[row["method"]].iterative]
    missed = [f"{row['method']} on {row['data_set']}" for row in counted if not within_goal(row)]
    if choice != "rc1":
        print(
            f"auto: more than {GOAL_PERCENTAGE_POINTS:g} percentage points above the best in {len(missed)} of "
            f"{len(counted)} rows of iterative methods" + "".join(f"; {name}" for name in missed)
        )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("phantoms", "rc1", "training"), nargs="+", default=["phantoms", "rc1"])
    parser.add_argument("--size", choices=("full", "reduced"), default="full", help="of phantoms")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS, metavar="METHOD")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--missing", action="store_true", help="only rows that are not stored yet")
    what.add_argument("--show", action="store_true", help="compute nothing")
    what.add_argument("--price", action="store_true", help="only the price of a sweep of fansi")
    options = parser.parse_args()
    if options.price:
        case = load_case(f"phantom:sim2?size={options.size}")
        found = {"machine": machine(), "size": options.size, "fansi": price("fansi", case)}
        print(json.dumps(found["fansi"], indent=2))
        print(f"written to {save_results(f'selection_price_{options.size}', found)}")
        return
    for choice in options.data:
        if choice == "rc1" and not RC1.is_dir():
            print("rc1: left out, the challenge's data are not in shared/data/rc1 beside the repository")
        elif not options.show:
            make_table(choice, options)
        show_table(choice, options)


if __name__ == "__main__":
    main()
