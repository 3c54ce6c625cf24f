"""A method as QSM-CI calls it: ``python -m qsm_recon.adapters.qsmci IN OUT --algo fansi``.

The contract (https://github.com/QSMxT/QSM-CI, CONTRACT.md) mounts ``localfield``, ``totalfield`` or echoes in ppm and
rad with ``mask`` and ``params.json`` in one folder, may add ``config.json`` with parameters, and expects
``chimap.nii.gz`` in ppm in another.  ``--submission DIR`` writes the folder that such a method is handed in as.
Exit code 0: done; 2: bad usage or input, nothing written.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qsm_recon.commands.background import BACKGROUND_OPTIONS, add_background_options, removal_from_options
from qsm_recon.commands.line import EXIT_DONE, CommandParser, logger, run_command
from qsm_recon.commands.options import (
    RECONSTRUCTION_OPTIONS,
    add_method_options,
    add_reconstruction_options,
    add_resource_options,
    solver_from_options,
)
from qsm_recon.commands.options import build_parser as build_run_parser
from qsm_recon.commands.words import option_words
from qsm_recon.datasets.qsmci import CHI_MAP
from qsm_recon.errors import ParameterError
from qsm_recon.io import atomic_write_text, read_json
from qsm_recon.solvers.base import Solver

CONFIGURATION = "config.json"
STAGES = ("dipole", "bfr+dipole", "end-to-end")
RUN_SCRIPT = """#!/usr/bin/env bash
set -euo pipefail
exec "${{QSM_RECON_PYTHON:-python3}}" -m qsm_recon.adapters.qsmci "${{1:-/input}}" "${{2:-/output}}" {words}
"""


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = CommandParser(
        prog="python -m qsm_recon.adapters.qsmci", description="Reconstruct what the QSM-CI contract hands over."
    )
    parser.add_argument("input", type=Path, nargs="?", metavar="IN", help="folder of the inputs")
    parser.add_argument("output", type=Path, nargs="?", metavar="OUT", help=f"folder that {CHI_MAP} is written to")
    parser.add_argument("--submission", type=Path, metavar="DIR", help="write a submission with these options to DIR")
    parser.add_argument(
        "--stage", choices=STAGES, default="dipole", help="what the submission starts from (default: %(default)s)"
    )
    parser.add_argument("--image", default="python:3.12", help="container that the submission runs in, with qsm_recon")
    method = parser.add_argument_group("method (as of python -m qsm_recon.run)")
    add_method_options(method)
    add_reconstruction_options(method)
    add_background_options(method)
    add_resource_options(method)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = build_parser().parse_args(arguments)
    return run_command(lambda: _run(options), quiet=options.quiet)


def _run(options: argparse.Namespace) -> int:
    words = option_words(options, (*RECONSTRUCTION_OPTIONS, *BACKGROUND_OPTIONS))
    solver = solver_from_options(options)
    removal_from_options(options)
    if options.submission is not None:
        write_submission(options.submission, solver, words, options.stage, options.image)
        return EXIT_DONE
    if options.input is None or options.output is None:
        raise ParameterError("give the folder of the inputs and that of the output, or --submission DIR")
    from qsm_recon.commands.reconstruct import reconstruct
    from qsm_recon.commands.run import set_up_machine

    given = read_json(options.input / CONFIGURATION) if (options.input / CONFIGURATION).is_file() else {}
    words += ["--dataset", f"qsmci:{options.input}", *configured(given)]
    run_options = build_run_parser().parse_args([*words, *option_words(options, ("threads", "memory_limit", "quiet"))])
    set_up_machine(run_options)
    outcome = reconstruct(run_options, words)
    outcome.case.save(options.output / CHI_MAP, outcome.susceptibility_ppm)
    if not outcome.result.converged:
        logger.warning("%s did not converge: %s", solver.name, outcome.result.stop_reason)
    return EXIT_DONE


def configured(given: Mapping[str, Any]) -> list[str]:
    """Options for the parameters that ``config.json`` sets."""
    return [word for name, value in given.items() for word in ("--set", f"{name}={_text(value)}")]


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str) else json.dumps(value)


def write_submission(folder: Path, solver: Solver, words: Sequence[str], stage: str, image: str) -> None:
    """Write the folder that a method is handed in as: ``algorithm.yml`` and ``run.sh``.

    Parameters
    ----------
    folder
        Where; made where missing.
    solver
        The method; its parameters become those of the submission.
    words
        Options of the method.
    stage
        What it starts from, in the contract's words.
    image
        Container.

    Raises
    ------
    ResourceError
        If it cannot be written.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", f"{solver.name}-qsm-recon".lower()).strip("-")
    doi = re.search(r"doi (10\.\S+?)[;,.]?(\s|$)", solver.citation)
    facts: dict[str, Any] = {
        "name": f"{solver.title} (qsm_recon)",
        "slug": slug,
        "stage": stage,
        "language": "Python",
        "description": solver.title,
        "citation": solver.cited(),
        **({"doi": doi[1]} if doi else {}),
        "image": image,
        "run": "bash run.sh",
        "optional_inputs": ["magnitude"],
        "parameters": [
            {"name": name, "default": getattr(solver, name), "description": f"{declared.help} ({declared.unit})"}
            for name, declared in solver.declared().items()
        ],
    }
    # JSON is YAML, so that no library is needed to write what strings may hold.
    atomic_write_text(folder / "algorithm.yml", json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    script = atomic_write_text(folder / "run.sh", RUN_SCRIPT.format(words=shlex.join(words)))
    script.chmod(script.stat().st_mode | 0o111)


if __name__ == "__main__":
    sys.exit(main())
