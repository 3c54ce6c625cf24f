"""One reconstruction as a function: from the options of ``python -m qsm_recon.run`` to all that can be written."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.commands.background import check_range, describe_removal, prepared_case
from qsm_recon.commands.line import EXIT_DONE, EXIT_NOT_CONVERGED, collected_warnings, iteration_progress, logger
from qsm_recon.commands.options import case_from_options, reference_from_options, solver_from_options
from qsm_recon.errors import DataError
from qsm_recon.parameters import parse_settings
from qsm_recon.solvers.base import OWN_ZERO, Solver
from qsm_recon.solvers.registry import find_solver

OUTPUT_VOLUMES = 6
"""Volumes of the image grid (float32) that result and picture take, beside the solver's."""
SCORING_VOLUMES = 30
"""Those that the error metrics take, in double precision; the solver's are free again by then."""
OVERHEAD_BYTES = 240e6
"""Libraries and compiled kernels that a run loads, more where it compiles them; beside what a first solve takes."""

if TYPE_CHECKING:
    from pathlib import Path

    from qsm_recon.datasets.case import Case
    from qsm_recon.result import Reconstruction


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one run came to, before anything of it is written.

    Parameters
    ----------
    case
        The data set as it was solved, its background removed where that was asked for.
    solver
        The method with the parameters that it was solved with.
    result
        What it returned.
    susceptibility_ppm
        (nx, ny, nz) the map with its zero reference, 0 outside the mask.
    document
        The report, see :func:`qsm_recon.report.document.run_document`.
    headline
        Title of the picture.
    warnings
        What was warned of on the way.
    """

    case: Case
    solver: Solver
    result: Reconstruction
    susceptibility_ppm: NDArray[np.float32]
    document: dict[str, Any]
    headline: str
    warnings: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        return EXIT_DONE if self.result.converged else EXIT_NOT_CONVERGED

    def write(self, folder: Path, *, keep_stages: bool = False, page: bool = False) -> None:
        """Write map, picture, report and page; see :func:`qsm_recon.report.outputs.write_outputs`."""
        from qsm_recon.report.outputs import write_outputs

        write_outputs(
            folder, self.case, self.result, self.susceptibility_ppm, self.document, self.headline,
            keep_stages=keep_stages, page=page,
        )  # fmt: skip


def reconstruct(options: argparse.Namespace, command: list[str]) -> Outcome:
    """Do one run, up to what can be written.

    Parameters
    ----------
    options
        Of :func:`qsm_recon.commands.options.build_parser`; threads and memory limit are left as they are.
    command
        The words that gave these options, for the report.

    Raises
    ------
    QSMError
        If data or parameters are unusable, or the machine lacks what the run needs.
    """
    with collected_warnings() as warnings:
        return replace(_reconstruct(options, command), warnings=tuple(warnings))


def _reconstruct(options: argparse.Namespace, command: list[str]) -> Outcome:
    solver = solver_from_options(options)
    began = time.perf_counter()
    read = case_from_options(options)
    stages_s = {"read": time.perf_counter() - began}
    case, local = prepared_case(read, solver, options)
    stages_s["background"] = time.perf_counter() - began - stages_s["read"]
    case, region, reference = reference_from_options(options.reference, case)
    for remark in solver.remarks(case.problem):
        logger.warning("warning: %s", remark)
    memory_gib = require_memory_for(solver, case)
    selection: dict[str, Any] = {}
    if options.select is not None:
        solver, selection = _select(solver, case, options)
    result = _solve(solver, case, two_pass=options.two_pass, quiet=options.quiet).with_details(**selection)
    check_range(result, case, options)
    solver = solver.resolved(case.problem)  # as it was solved with, for what is printed
    if options.reference == "auto" and OWN_ZERO in result.details:
        region, reference = None, result.details[OWN_ZERO]
    susceptibility = _referenced(result, region, reference)
    result = _judged(result, susceptibility, case)
    began = time.perf_counter()
    metrics = _score(susceptibility, case, result.mask)
    timings = {**stages_s, **result.timings_s, "metrics": time.perf_counter() - began}

    from qsm_recon.report.document import run_document
    from qsm_recon.report.outputs import PAGE_NAME

    document = run_document(
        case, solver, result, susceptibility,
        command=command, reference=reference, metrics=metrics, timings_s=timings, memory_estimate_gib=memory_gib,
        background=None if local is None else describe_removal(local, int(read.problem.mask.sum())),
        keep_stages=options.keep_stages, page=PAGE_NAME if options.html else None,
    )  # fmt: skip
    chosen_by = _origin_of_weight(options, selection)
    headline = _headline(solver, case, result, metrics, "" if local is None else local.method, chosen_by)
    return Outcome(case, solver, result, susceptibility, document, headline, ())


def memory_estimate_bytes(solver: Solver, case: Case) -> float:
    """Memory that a reconstruction takes on top of the data, in bytes."""
    from math import prod

    volume = 4 * prod(case.problem.grid.shape)
    scoring = 0 if case.truth is None else SCORING_VOLUMES * volume
    return max(solver.memory_bytes(case.problem) + OUTPUT_VOLUMES * volume, scoring) + OVERHEAD_BYTES


def require_memory_for(solver: Solver, case: Case) -> float:
    """Print the memory estimate in GiB and return it; refuse a job that cannot fit.

    Raises
    ------
    ResourceError
        If it cannot, on the machine or the device; see :func:`qsm_recon.backend.memory.require_memory`.
    """
    from qsm_recon.backend.memory import GIB, available_bytes, require_device_memory, require_memory

    needed = memory_estimate_bytes(solver, case)
    data = sum(array.nbytes for array in vars(case.problem).values() if isinstance(array, np.ndarray))
    logger.info(
        "memory: about %.3g GiB needed on top of %.3g GiB of data, %.3g GiB available",
        needed / GIB, data / GIB, available_bytes() / GIB,
    )  # fmt: skip
    less = ", --set precision=single" if getattr(solver, "precision", "single") == "double" else ""
    less += ", or less --set padding" if getattr(solver, "padding", None) else ""
    what = f"{solver.name} on {case.name}"
    require_memory(needed, what, "close other programs, use a machine with more memory" + less)
    tensors = solver.device_bytes(case.problem)
    require_device_memory(tensors, what, "free some of it, choose --device cpu" + less)
    return (needed + data) / GIB


def _select(solver: Solver, case: Case, options: argparse.Namespace) -> tuple[Solver, dict[str, Any]]:
    """Choose the main parameter; returns the solver with it, and what the report says of it."""
    from qsm_recon.select.tune import solver_by_selection

    with iteration_progress(f"{solver.name}, choosing", quiet=options.quiet) as callback:
        chosen, pick = solver_by_selection(solver, case.problem, options.select, callback)
    main = solver.main_parameter()
    logger.info("%s = %.4g %s by %s: %s", main.name, pick.value, main.unit, pick.method, pick.reason)
    return chosen, {"selection": asdict(pick)}


def _solve(solver: Solver, case: Case, *, two_pass: bool, quiet: bool) -> Reconstruction:
    shape = "×".join(str(n) for n in case.problem.grid.shape)
    logger.info("%s: %s, B0 %.1f° off the nearest axis", case.name, shape, case.problem.grid.b0_angle_deg)
    for note in (*case.notes, *case.problem.notes):
        if not note.startswith("warning: "):  # printed where it arose
            logger.info("note: %s", note)
    main = solver.main_parameter()
    if solver.default_rule and getattr(solver, main.name) is None:
        value = solver.resolved(case.problem).main_value()
        logger.info("%s = %.4g %s, from the data: %s", main.name, value, main.unit, solver.default_rule)
    with iteration_progress(solver.name, quiet=quiet) as callback:
        if not two_pass:
            return solver.solve(case.problem, callback=callback)
        from qsm_recon.solvers.two_pass import solve_in_two_passes, words_of_two_passes

        result = solve_in_two_passes(solver, case.problem, callback)
    logger.info("%s", words_of_two_passes(result.details["two_pass"]))
    return result


def _judged(result: Reconstruction, susceptibility: NDArray, case: Case) -> Reconstruction:
    """Warn of a map unlike tissue or its truth, or whose method left little of the mask; the report keeps it.

    Raises
    ------
    DataError
        If the method left too few slices of the mask.
    """
    from qsm_recon.datasets.thickness import check_thickness
    from qsm_recon.metrics.plausibility import inverted, other_unit

    found = [inverted(susceptibility, result.mask, case.problem.magnitude)]
    if not np.array_equal(result.mask, case.problem.mask):
        left = f"the mask that {result.solver} leaves"
        found.append(check_thickness(result.mask, left, advice="let it take less of the mask; nothing was written"))
    if case.truth is not None:
        doubt = other_unit(susceptibility, case.truth.susceptibility_ppm, case.compared(result.mask))
        found.append(None if doubt is None else f"{case.sources.get('truth', case.name)}: the map {doubt}")
    warnings = [text for text in found if text is not None]
    for text in warnings:
        logger.warning("warning: %s", text)
    return result.with_details(warnings=[*result.details.get("warnings", []), *warnings]) if warnings else result


def _score(susceptibility: NDArray, case: Case, covered: NDArray[np.bool_]) -> dict[str, Any]:
    """Error metrics, where a truth is there; see :meth:`Case.compared`."""
    from qsm_recon.metrics.of_case import evaluate_case

    scores = evaluate_case(case, susceptibility, covered)
    if scores is None:
        return {}
    mask = case.compared(covered)
    voxels = {"voxels": int(mask.sum()), "voxels_left_out": int((case.evaluation_mask & ~mask).sum())}
    return {**scores.values, "not_computed": dict(scores.reasons), **voxels}


def _referenced(result: Reconstruction, region: NDArray | None, reference: str) -> NDArray:
    """The map with its zero reference; the region counts only where the method gives a result."""
    from qsm_recon.result import referenced

    if region is not None:
        region = region & result.mask
        if not region.any():
            raise DataError(f"{reference}: no voxel of it is left where '{result.solver}' gives a result")
    return referenced(result.susceptibility_ppm, result.mask, region)


def _origin_of_weight(options: argparse.Namespace, selection: dict[str, Any]) -> str:
    """Where the main parameter came from: a rule, the user, or the method's default."""
    if selection:
        return f"chosen by {selection['selection']['method']}"
    kind = find_solver(options.algo)
    if options.regularisation is not None or kind.main_parameter().name in parse_settings(kind, options.set, "--set"):
        return "as given"
    return "default, from the data" if kind.default_rule else "default"


def _headline(
    solver: Solver, case: Case, result: Reconstruction, metrics: dict[str, Any], removal: str, chosen_by: str
) -> str:
    main = solver.main_parameter()
    unit = "" if main.unit == "1" else f" [{main.unit}]" if " " in main.unit else f" {main.unit}"
    facts = [f"{main.name.replace('_', ' ')} {getattr(solver, main.name):.4g}{unit} ({chosen_by})"]
    if removal:
        facts.insert(0, f"background removed by {removal}")
    if result.history:
        facts.append(f"{result.iterations} iterations" + ("" if result.converged else f", {result.stop_reason}"))
    if metrics.get("nrmse") is not None:
        facts.append(f"NRMSE {metrics['nrmse']:.1f} %")
    marked = "" if result.converged else "NOT CONVERGED · "
    shape, size = case.problem.grid.shape, case.problem.grid.voxel_size_mm
    voxels = f"{'×'.join(map(str, shape))} voxels of {'×'.join(f'{d:.3g}' for d in size)} mm"
    return f"{marked}{solver.title} · {case.name}, {voxels}\n" + " · ".join(facts)
