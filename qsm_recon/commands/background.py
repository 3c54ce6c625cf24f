"""What command lines do about the background field: options, removal, and refusing a field that still holds it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qsm_recon.background.registry import find_removal, removals
from qsm_recon.commands.line import iteration_progress, logger
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.parameters import parse_settings

if TYPE_CHECKING:
    from qsm_recon.background.base import BackgroundRemoval, LocalField
    from qsm_recon.datasets.case import Case
    from qsm_recon.result import Reconstruction
    from qsm_recon.solvers.base import Solver

BACKGROUND_OPTIONS = ("background", "background_set", "accept_background")
WAYS_OUT = (
    "remove the background (--background vsharp) or take a method for total fields (--algo tfi); "
    "--accept-background insists"
)
LESS_TAKEN = "choose a smaller radius (--background-set), or a method that takes less of it (--background lbv or pdf)"


def add_background_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that say what to do about the background field."""
    group.add_argument(
        "--background",
        metavar="METHOD",
        help=f"remove the background field first: {', '.join(removals())} (with --help: its parameters)",
    )
    group.add_argument(
        "--background-set",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the background removal; repeatable",
    )
    group.add_argument(
        "--accept-background", action="store_true", help="take a field for local that looks as if it held background"
    )


def removal_from_options(options: argparse.Namespace) -> BackgroundRemoval | None:
    """Make the background removal that the options ask for; None where they ask for none.

    Raises
    ------
    ParameterError
        If the method or a parameter is unknown, malformed or out of range, or parameters are given without a method.
    """
    if options.background is None:
        if options.background_set:
            raise ParameterError("--background-set: give the method it belongs to (--background)")
        return None
    kind = find_removal(options.background)
    return kind(**parse_settings(kind, options.background_set, "--background-set"))


def prepared_case(case: Case, solver: Solver, options: argparse.Namespace) -> tuple[Case, LocalField | None]:
    """Remove the background where that is asked for, else make sure that the method can take the field as it is.

    Parameters
    ----------
    case
        The data set as read.
    solver
        The method that comes next.
    options
        Of the command line.

    Returns
    -------
    case
        With its local field; the total field and the mask given are among its ``stages``.
    local
        What the removal returned; None without one.

    Raises
    ------
    DataError
        If the field holds background, and the method expects a local one.
    QSMError
        See :func:`removal_from_options` and :meth:`qsm_recon.background.base.BackgroundRemoval.remove`.
    """
    removal = removal_from_options(options)
    if removal is not None:
        return _without_background(case, removal, quiet=options.quiet)
    if solver.takes_total_field():
        return case, None
    from qsm_recon.solvers.guard import background_in

    found = background_in(case.problem)
    if found is None:
        return case, None
    if not options.accept_background:
        raise DataError(f"{_origin(case)}: {found}, and '{solver.name}' expects a local field; {WAYS_OUT}")
    note = f"field: accepted as local (--accept-background), though {found}"
    return replace(case, problem=replace(case.problem, field_kind="local"), notes=(*case.notes, note)), None


def check_range(result: Reconstruction, case: Case, options: argparse.Namespace) -> None:
    """Refuse a map that cannot be susceptibility, unless the user insists on it or on the field's range.

    Raises
    ------
    DataError
        With what was found.
    """
    found = result.details.get("impossible_range")
    if found is not None and not (options.accept_background or options.accept_range):
        raise DataError(
            f"{_origin(case)}: {found}; the field holds its background, or its unit is wrong: {WAYS_OUT}; "
            "nothing was written"
        )


def describe_removal(local: LocalField, given_voxels: int) -> dict[str, Any]:
    """What the report says of a background removal."""
    kind = find_removal(local.method)
    declared = kind.declared()
    return {
        "name": local.method,
        "title": kind.title,
        "citation": kind.citation,
        "parameters": {name: {"value": value, "unit": declared[name].unit} for name, value in local.parameters.items()},
        "converged": local.converged,
        "stop_reason": local.stop_reason,
        "iterations": local.iterations,
        "mask_voxels": int(local.mask.sum()),
        "given_mask_voxels": given_voxels,
        **local.details,
        "history": local.history,
    }


def _origin(case: Case) -> str:
    """The file that the field came from, or else the data set."""
    source = case.sources.get("field", "")
    return source if Path(source.split(" (")[0].split(", ")[0]).is_file() else f"{case.name} ({source or 'data set'})"


def _without_background(case: Case, removal: BackgroundRemoval, *, quiet: bool) -> tuple[Case, LocalField]:
    from qsm_recon.backend.memory import require_memory
    from qsm_recon.background.base import without_background
    from qsm_recon.datasets.thickness import check_thickness
    from qsm_recon.result import heed

    problem = case.problem
    advice = "close other programs or use a machine with more memory"
    require_memory(removal.memory_bytes(problem), f"{removal.name} on {case.name}", advice)
    with iteration_progress(removal.name, quiet=quiet) as callback:
        changed, local = without_background(problem, removal, callback)
    heed(local.stop_reason)
    given, left = int(problem.mask.sum()), int(local.mask.sum())
    iterations = f"{local.iterations} iterations, " if local.history else ""
    note = f"background: removed by {removal.name} ({iterations}{local.stop_reason}), valid in {left} of {given} voxels"
    notes = [*problem.notes, note + ("" if left == given else ": the mask is that much smaller")]
    if problem.field_kind == "local":
        notes.append("background: the data set says that its field was local before")
    thin = None
    if left < given:  # and thin, maybe, where the mask given is not
        thin = check_thickness(local.mask, f"the mask that {removal.name} leaves", advice=LESS_TAKEN)
    if thin is not None:
        logger.warning("warning: %s", thin)
        notes.append(f"warning: {thin}")
    if not local.converged:
        logger.warning(
            "warning: background removal %s did not converge: %s after %d iterations; the local field may hold "
            "background still, give it more iterations (--background-set max_iterations=%d)",
            removal.name, local.stop_reason, local.iterations, 4 * max(local.iterations, 1),
        )  # fmt: skip
    stages = {
        "total_field_ppm": np.where(problem.mask, problem.field_ppm, 0),
        "background_field_ppm": np.where(local.mask, problem.field_ppm - local.field_ppm, 0),
        "given_mask": problem.mask,
    }
    return replace(case, problem=changed, notes=(*case.notes, *notes), stages={**case.stages, **stages}), local
