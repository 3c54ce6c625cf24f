"""Reconstruct a susceptibility map: ``python -m qsm_recon.run --algo fansi``.

Without input it runs on the embedded phantom.  Results go to ``--out``: ``chi.nii.gz`` (ppm), ``report.json``,
``figure.png`` and, with ``--html``, the page ``report.html``.  Exit code 0: done; 2: bad usage or input, nothing
written; 3: did not converge, result written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qsm_recon.background.registry import find_removal, removals
from qsm_recon.commands.background import removal_from_options
from qsm_recon.commands.line import (
    EXIT_DONE,
    logger,
    run_command,
)
from qsm_recon.commands.options import (
    build_parser,
    describe_mask,
    output_folder,
    solver_from_options,
)
from qsm_recon.commands.reconstruct import Outcome, reconstruct
from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.metrics.scores import METRIC_UNITS
from qsm_recon.parameters import Method
from qsm_recon.solvers.registry import find_solver, solvers

if TYPE_CHECKING:
    from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    command = list(sys.argv[1:] if arguments is None else arguments)
    options = build_parser().parse_args(command)
    return run_command(lambda: _run(options, command), quiet=options.quiet)


def _run(options: argparse.Namespace, command: list[str]) -> int:
    if options.list:
        print(list_algorithms())
        return EXIT_DONE
    if options.help:
        print(build_parser().format_help() + "\n" + find_solver(options.algo).describe("algorithm", "--set"))
        if options.background is not None:
            print("\n" + find_removal(options.background).describe("background removal", "--background-set"))
        return EXIT_DONE
    if options.cite is not None:
        print(what_to_cite(options))
        return EXIT_DONE
    set_up_machine(options)
    solver_from_options(options)
    removal_from_options(options)
    folder = output_folder(options)
    outcome = reconstruct(options, command)
    from qsm_recon.report.former_run import describe_former
    from qsm_recon.report.outputs import REPORT_NAME

    former = describe_former(folder, REPORT_NAME)
    outcome.write(folder, keep_stages=options.keep_stages, page=options.html)
    if former is not None:
        logger.info("%s: %s was there before and is replaced", folder, former)
    _summarise(folder, outcome, quiet=options.quiet)
    return outcome.exit_code


def set_up_machine(options: argparse.Namespace) -> None:
    """Set threads, memory limit and device; they hold for the whole process."""
    from qsm_recon.backend.device import set_device
    from qsm_recon.backend.memory import set_memory_limit
    from qsm_recon.backend.threads import set_thread_count

    set_memory_limit(options.memory_limit)
    if options.threads is not None:
        set_thread_count(options.threads)
    set_device(options.device)


def list_algorithms() -> str:
    """All algorithms with title and main parameter, one a line."""
    known = solvers()
    width = max(len(name) for name in known)
    lines = []
    for name, solver in known.items():
        main_parameter = solver.main_parameter()
        needs = f" [needs the extra qsm_recon[{solver.extra}]]" if solver.missing() else ""
        lines.append(f"{name:<{width}}  {solver.title} (main: {main_parameter.name}, {main_parameter.unit}){needs}")
    return "\n".join(lines)


def what_to_cite(options: argparse.Namespace) -> str:
    """BibTeX of the method that ``--cite`` names, else of the algorithm with its parameters, and of the removal.

    Raises
    ------
    ParameterError
        If a name is unknown, a parameter is wrong, or a plug-in brings no entry.
    """
    from qsm_recon.citations import bibtex

    methods: list[Method | type[Method]] = [find_method(options.cite) if options.cite else solver_from_options(options)]
    if options.background is not None:
        methods.append(find_removal(options.background))
    entries = [entry for method in methods for entry in bibtex(method)]
    return "\n\n".join(dict.fromkeys(entries))


def find_method(name: str) -> type[Method]:
    """Return the class of the algorithm, or else of the background removal, of a name.

    Raises
    ------
    ParameterError
        If there is neither.
    """
    if name in removals():
        return find_removal(name)
    if name not in solvers():
        raise ParameterError(
            f"--cite {name}: no algorithm or background removal has this name"
            f"{did_you_mean(name, [*solvers(), *removals()])}"
        )
    return find_solver(name)


def _summarise(folder: Path, outcome: Outcome, *, quiet: bool) -> None:
    solver, result = outcome.solver, outcome.result
    if not result.converged:
        logger.warning("%s did not converge: %s (the result is written and marked)", solver.name, result.stop_reason)
    if quiet:
        return
    print(describe_mask(outcome.case))
    for name, value in outcome.document["metrics"].items():
        if isinstance(value, float):
            print(f"{name:>32}: {value:.4g} {METRIC_UNITS.get(name, '')}".rstrip())
    iterations = f"{result.iterations} iterations, " if result.history else ""
    print(
        f"{solver.name}: {iterations}{result.stop_reason}, {result.timings_s['solve']:.1f} s; "
        f"susceptibility map, picture and report are in {folder}/"
    )
