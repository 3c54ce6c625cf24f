"""Sweeps in one piece, for ``benchmarks.unseen``, and their price: ``python -m benchmarks.selection``.

The price of a sweep is its time against one cold solve, and against a sweep of cold solves.  What the rules lose is a
study of the suite: ``python -m benchmarks.study selection``.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.suite.command import BenchmarkParser, guarded
from benchmarks.timing import machine, save_results
from qsm_recon.datasets.case import Case
from qsm_recon.datasets.registry import load_case
from qsm_recon.metrics import evaluate
from qsm_recon.report.tuning import TuningSession
from qsm_recon.select.path import sweep_values
from qsm_recon.select.session import SessionCase
from qsm_recon.select.tune import run_session
from qsm_recon.solvers.registry import make_solver

RC1 = Path(__file__).resolve().parents[2] / "shared" / "data" / "rc1"
POINTS = 15


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


def main() -> None:
    """Run and print."""
    parser = BenchmarkParser(description=__doc__)
    parser.add_argument("--size", choices=("full", "reduced"), default="full", help="of the phantom")
    options = parser.parse_args()
    case = load_case(f"phantom:sim2?size={options.size}")
    found = {"machine": machine(), "size": options.size, "fansi": price("fansi", case)}
    print(json.dumps(found["fansi"], indent=2))
    print(f"written to {save_results(f'selection_price_{options.size}', found)}")


if __name__ == "__main__":
    raise SystemExit(guarded(main, interrupted="interrupted"))
