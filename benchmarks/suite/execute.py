"""Run one job: load, choose the weight, reconstruct, score."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.suite.cases import load
from benchmarks.suite.job import Job, load_function
from benchmarks.suite.record import Record
from benchmarks.suite.search import search_with_truth
from benchmarks.suite.store import Store
from benchmarks.timing import PeakMemory, return_unused_memory
from qsm_recon.backend.memory import GIB, require_memory
from qsm_recon.backend.threads import set_thread_count
from qsm_recon.datasets.case import Case
from qsm_recon.errors import ParameterError, QSMError
from qsm_recon.metrics import Scores, evaluate
from qsm_recon.result import Reconstruction, referenced
from qsm_recon.select.choosers import choose_all
from qsm_recon.select.tune import select_value
from qsm_recon.solvers.base import Solver

SHARE_OF_FIRST_PART = 5  # the objective before the last fifth is kept too
_WARM: set[tuple[Any, ...]] = set()


def execute(
    job: Job, store: Store, *, threads: int = 1, keep_map: bool = False, provenance: Mapping[str, Any] | None = None
) -> Record:
    """Run a job and store its record; what goes wrong is in the record.

    Parameters
    ----------
    job
        What is asked.
    store
        Where records and maps go.
    threads
        Of the reconstruction.
    keep_map
        Whether the map is stored as well.
    provenance
        What is known of program and machine.
    """
    record = Record(job.key(), job.description(), threads=threads, provenance=dict(provenance or {}))
    set_thread_count(threads)
    try:
        case = load(job.case, magnitude=job.magnitude)
        if job.prepare:
            case = load_function(job.prepare)(case)
        solver = _with_weight(job, case, record)
        result = _measured(job, solver, case, record)
        _score(job, case, result, record)
        if keep_map:
            store.save_map(record.key, result.susceptibility_ppm)
    except QSMError as error:
        record.failed = " ".join(str(error).split())
    except MemoryError:
        record.failed = "out of memory"
    except (ArithmeticError, ValueError, RuntimeError, TypeError, KeyError, OSError, np.linalg.LinAlgError) as error:
        record.failed = f"{type(error).__name__}: {' '.join(str(error).split())}"
    store.add(record)
    return record


def score(case: Case, result: Reconstruction, *, similarity: bool = True) -> Scores:
    """Metrics of a reconstruction where the case says to compare; empty without a truth.

    A susceptibility map has no zero point of its own, and some similarity measures see it: the map is given the truth's
    mean first.
    """
    truth = case.truth
    if truth is None:
        return Scores()
    compared = case.compared(result.mask)
    zero_mean = referenced(result.susceptibility_ppm, result.mask, compared)
    mean = np.float32(truth.susceptibility_ppm[compared].mean(dtype=np.float64))
    return evaluate(
        np.where(result.mask, zero_mean + mean, np.float32(0)), truth.susceptibility_ppm, compared, truth.labels,
        calcification_moment=truth.calcification_moment, similarity=similarity,
    )  # fmt: skip


def error_percent(case: Case, result: Reconstruction) -> float:
    """NRMSE in percent; infinite where it cannot be computed."""
    value = score(case, result, similarity=False).values.get("nrmse")
    return float("inf") if value is None else value


def _with_weight(job: Job, case: Case, record: Record) -> Solver:
    """The method with its weight; the record is told how that was found."""
    solver = job.make_solver()
    main = solver.main_parameter()
    record.weight_name, record.weight_unit = main.name, main.unit
    began, busy = time.perf_counter(), _processor_s(record.threads)
    if job.weight == "truth":
        if case.truth is None:
            raise ParameterError(f"{case.name} has no truth to choose the weight with")
        found = search_with_truth(solver, case.problem, lambda result: error_percent(case, result))
        solver = solver.with_regularisation(found.best_value)
        record.choice = {"tried": {f"{v:.6g}": e for v, e in found.tried.items()}, "at_edge": found.at_edge}
    elif job.weight == "default" or job.fixed_value is not None:
        solver = solver.resolved(case.problem)
    else:
        pick, curve = select_value(solver, case.problem, job.weight)
        record.choice = {
            "confidence": pick.confidence, "reason": pick.reason,
            "picks": {other.method: asdict(other) for other in choose_all(curve)},
        }  # fmt: skip
        if pick.value is None:
            raise ParameterError(f"'{job.weight}' finds no {main.name}: {pick.reason}")
        solver = solver.with_regularisation(pick.value)
    record.weight = solver.main_value()
    record.choice |= {"cpu_s": _processor_s(record.threads) - busy, "wall_s": time.perf_counter() - began}
    return solver


def _measured(job: Job, solver: Solver, case: Case, record: Record) -> Reconstruction:
    """Reconstruct from nothing; the record is told what that took."""
    require_memory(
        solver.memory_bytes(case.problem),
        f"{solver.name} on {case.name}",
        "use fewer workers or a machine with more memory",
    )
    _warm_up(job, solver, case)
    return_unused_memory()
    with PeakMemory() as memory:
        began, busy = time.perf_counter(), _processor_s(record.threads)
        result = solver.solve(case.problem)
        record.cpu_s, record.wall_s = _processor_s(record.threads) - busy, time.perf_counter() - began
    record.peak_gib = memory.added_bytes / GIB
    record.iterations, record.converged = result.iterations, bool(result.converged)
    record.stop_reason = result.stop_reason
    record.extras = _facts(result)
    return result


def _warm_up(job: Job, solver: Solver, case: Case) -> None:
    """Compile and plan what a method needs on this grid, once in a process: that is in nobody's seconds."""
    known = (job.solver, job.parameters, solver.computed_shape(case.problem))
    searched = job.weight != "default" and job.fixed_value is None
    if known not in _WARM and not searched:
        solver.solve(case.problem, callback=lambda _state: False)
    _WARM.add(known)


def _processor_s(threads: int) -> float:
    """Processor time of this thread where it does all the work, as a worker's process has other threads too."""
    return time.thread_time() if threads == 1 else time.process_time()


def _facts(result: Reconstruction) -> dict[str, Any]:
    """Numbers about the minimisation that some tables show."""
    facts: dict[str, Any] = {}
    objective = [float(value) for value in result.history.get("objective", [])]
    if objective:
        early = objective[: -(len(objective) // SHARE_OF_FIRST_PART)] or objective
        facts |= {"objective": objective[-1], "lowest_objective": min(objective), "objective_before": min(early)}
    if "cg_iterations" in result.history:
        more = float(result.details.get("field_cg_iterations", 0))
        facts["inner_iterations"] = float(sum(result.history["cg_iterations"])) + more
    return facts


def _score(job: Job, case: Case, result: Reconstruction, record: Record) -> None:
    scores = score(case, result)
    record.metrics, record.not_computed = dict(scores.values), dict(scores.reasons)
    if job.measure:
        record.extras |= load_function(job.measure)(case, result)
