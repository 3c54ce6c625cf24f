"""Reconstruct a susceptibility map: ``python -m qsm_recon.run --algo fansi``.

Without input it runs on the embedded phantom.  Results go to ``--out``: ``chi.nii.gz`` (ppm), ``report.json`` and
``figure.png``.  Exit code 0: done; 2: bad usage or input, nothing written; 3: did not converge, result written.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.command_line import (
    EXIT_DONE,
    EXIT_NOT_CONVERGED,
    iteration_progress,
    logger,
    run_command,
    set_up_logging,
)
from qsm_recon.errors import DataError, ParameterError, did_you_mean
from qsm_recon.solvers.base import Solver
from qsm_recon.solvers.registry import find_solver, make_solver, solvers

if TYPE_CHECKING:
    from qsm_recon.datasets.case import Case
    from qsm_recon.result import Reconstruction

DEFAULT_ALGORITHM = "fansi"
DEFAULT_DATASET = "phantom:sim2?size=reduced"
FILE_OPTIONS = ("field", "phase", "mask", "magnitude", "weight", "truth", "labels")


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m qsm_recon.run",
        description="Reconstruct a susceptibility map (ppm) from a local field map or from multi-echo phase.",
        epilog="Add --help to --algo NAME to see that algorithm's parameters.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    general = parser.add_argument_group("what to do")
    general.add_argument("--algo", default=DEFAULT_ALGORITHM, metavar="NAME", help="algorithm (default: %(default)s)")
    general.add_argument("--list", action="store_true", help="list the algorithms and exit")
    general.add_argument("-h", "--help", action="store_true", help="show this help, with the algorithm's parameters")
    general.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the algorithm; repeatable"
    )
    general.add_argument(
        "--regularisation", type=float, metavar="VALUE", help="the main regularisation parameter, whatever its name"
    )
    general.add_argument(
        "--reference",
        default="mean",
        metavar="mean|none|MASK",
        help="zero point of the map: mean over the mask, none, or mean over a mask file (default: %(default)s)",
    )

    data = parser.add_argument_group("input (none: the embedded phantom)")
    data.add_argument(
        "--dataset", metavar="SPEC", help="phantom:sim1, phantom:sim2, rc1:DIR, rc2:DIR, bids:DIR or qsmci:DIR"
    )
    data.add_argument("--field", type=Path, metavar="NIFTI", help="local field map")
    data.add_argument("--field-unit", choices=("ppm", "Hz", "rad"), help="its unit")
    data.add_argument("--phase", type=Path, nargs="+", metavar="NIFTI", help="multi-echo phase, 4D or one per echo")
    data.add_argument(
        "--phase-unit", default="auto", metavar="UNIT", help="unit of the phase (default: recognised, and reported)"
    )
    data.add_argument(
        "--field-estimate",
        choices=("fit", "difference"),
        help="field from echoes: nonlinear fit (default) or differences",
    )
    data.add_argument("--mask", type=Path, metavar="NIFTI", help="binary mask of the voxels to reconstruct")
    data.add_argument(
        "--magnitude", type=Path, nargs="+", metavar="NIFTI", help="magnitude (one per echo with --phase)"
    )
    data.add_argument("--weight", type=Path, metavar="NIFTI", help="data weight W, any scale")
    data.add_argument("--b0", type=float, metavar="TESLA", help="field strength in T")
    data.add_argument("--te", type=float, nargs="+", default=[], metavar="SECONDS", help="echo times in s")
    data.add_argument(
        "--b0-direction",
        type=float,
        nargs="+",
        metavar="X",
        help="field direction in voxel axes (default: from affine)",
    )
    data.add_argument("--truth", type=Path, metavar="NIFTI", help="true susceptibility (ppm): adds error metrics")
    data.add_argument("--labels", type=Path, metavar="NIFTI", help="label map in the challenge's numbering")
    data.add_argument("--accept-range", action="store_true", help="accept a field whose range does not fit its unit")

    output = parser.add_argument_group("output and machine")
    output.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="folder (default: %(default)s)")
    output.add_argument("--threads", type=int, metavar="N", help="threads (default: all cores)")
    output.add_argument("--seed", type=int, metavar="N", help="seed of the phantom's noise")
    output.add_argument("--quiet", action="store_true", help="no progress, warnings only")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    command = list(sys.argv[1:] if arguments is None else arguments)
    return run_command(lambda: _run(parser, options, command))


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace, command: list[str]) -> int:
    if options.list:
        print(list_algorithms())
        return EXIT_DONE
    if options.help:
        print(parser.format_help() + "\n" + describe_algorithm(find_solver(options.algo)))
        return EXIT_DONE
    set_up_logging(quiet=options.quiet)
    solver = solver_from_options(options)
    if options.threads is not None:
        from qsm_recon.backend.threads import set_thread_count

        set_thread_count(options.threads)
    _require_writable(options.out)
    case = case_from_options(options)
    region, reference = _reference_region(options.reference, case)
    _require_memory(solver, case)
    result = _solve(solver, case, quiet=options.quiet)
    from qsm_recon.result import referenced

    susceptibility = referenced(result.susceptibility_ppm, result.mask, region)
    metrics = _score(susceptibility, case)
    _write(options.out, case, solver, result, susceptibility, metrics, command=command, reference=reference)
    _summarise(options.out, solver, result, metrics, quiet=options.quiet)
    return EXIT_DONE if result.converged else EXIT_NOT_CONVERGED


def list_algorithms() -> str:
    """All algorithms with title and main parameter, one a line."""
    known = solvers()
    width = max(len(name) for name in known)
    lines = []
    for name, solver in known.items():
        main_parameter = solver.main_parameter()
        lines.append(f"{name:<{width}}  {solver.title} (main: {main_parameter.name}, {main_parameter.unit})")
    return "\n".join(lines)


def describe_algorithm(solver: type[Solver]) -> str:
    """Parameters of an algorithm with default, unit, range and help."""
    lines = [f"algorithm {solver.name}: {solver.title}", f"  {solver.citation}", "  parameters (--set NAME=VALUE):"]
    for declared in solver.declared().values():
        default = "auto" if declared.default is None else str(declared.default).lower() if declared.kind is bool else (
            declared.default
        )  # fmt: skip
        star = " (--regularisation)" if declared.main else ""
        lines.append(f"    {declared.name}{star}: default {default}; {declared.describe_range()}; unit {declared.unit}")
        lines.extend(textwrap.wrap(declared.help, 100, initial_indent="        ", subsequent_indent="        "))
    return "\n".join(lines)


def solver_from_options(options: argparse.Namespace) -> Solver:
    """Make the solver that the options ask for.

    Raises
    ------
    ParameterError
        If the algorithm or a parameter is unknown, malformed or out of range.
    """
    kind = find_solver(options.algo)
    declared = kind.declared()
    chosen: dict[str, Any] = {}
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise ParameterError(f"--set {text}: expected NAME=VALUE")
        if name not in declared:
            raise ParameterError(f"'{options.algo}' has no parameter '{name}'{did_you_mean(name, declared)}")
        chosen[name] = declared[name].parse(value)
    if options.regularisation is not None:
        main_name = kind.main_parameter().name
        if main_name in chosen:
            raise ParameterError(f"--regularisation and --set {main_name} both set the same parameter; give one")
        chosen[main_name] = options.regularisation
    return make_solver(options.algo, **chosen)


def case_from_options(options: argparse.Namespace) -> Case:
    """Read the data set or the files that the options name.

    Raises
    ------
    QSMError
        If they are missing, contradictory or unusable.
    """
    given = [f"--{name}" for name in FILE_OPTIONS if getattr(options, name)]
    if options.dataset or not given:
        inputs = [option for option in given if option not in ("--truth", "--labels")]
        if inputs:
            raise ParameterError(f"--dataset and {', '.join(inputs)} exclude each other; give one or the other")
        if given:
            raise ParameterError(f"{', '.join(given)}: a data set brings its own truth and labels; leave them out")
        from qsm_recon.datasets.registry import load_case

        return load_case(
            _seeded(options.dataset or DEFAULT_DATASET, options.seed),
            field_estimate=options.field_estimate,
            b0_direction=options.b0_direction,
            phase_unit=options.phase_unit,
            accept_range=options.accept_range,
        )
    from qsm_recon.datasets.files import case_from_files

    if options.field is None and not options.phase:
        raise ParameterError(f"{', '.join(given)} given without --field or --phase; give one of them")
    if options.field is not None and options.field_unit is None:
        raise ParameterError("--field needs --field-unit ppm, Hz or rad: the unit is never guessed")
    if options.mask is None:
        raise ParameterError("--mask is missing; give a binary mask of the voxels to reconstruct")
    return case_from_files(
        field=options.field,
        field_unit=options.field_unit or "ppm",
        mask=options.mask,
        magnitude=options.magnitude,
        weight=options.weight,
        phase=options.phase,
        field_estimate=options.field_estimate or "fit",
        phase_unit=options.phase_unit,
        b0_tesla=options.b0,
        echo_times_s=tuple(options.te),
        b0_direction=options.b0_direction,
        truth=options.truth,
        labels=options.labels,
        accept_range=options.accept_range,
    )


def _seeded(dataset: str, seed: int | None) -> str:
    """Hand the seed to a phantom; nothing else is random."""
    if seed is None or not dataset.startswith("phantom:"):
        return dataset
    return f"{dataset}{'&' if '?' in dataset else '?'}noise_seed={seed}"


def _reference_region(choice: str, case: Case) -> tuple[NDArray[np.bool_] | None, str]:
    """Region whose mean becomes zero, and how it is named in the report."""
    if choice == "none":
        return None, "none"
    if choice == "mean":
        return case.problem.mask, "mean over the mask"
    from qsm_recon.io import load_mask

    image = load_mask(choice)
    if image.data.shape != case.problem.grid.shape:
        raise DataError(
            f"{choice}: shape {image.data.shape} differs from {case.problem.grid.shape} of the data; resample it"
        )
    region = image.data & case.problem.mask
    if not region.any():
        raise DataError(f"{choice}: the reference region does not meet the mask; choose another")
    return region, f"mean over {choice}"


def _require_writable(folder: Path) -> None:
    """Make sure the output folder can be made, before any work is done; leaves nothing behind."""
    import os

    from qsm_recon.errors import ResourceError

    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise ResourceError(f"--out {folder}: '{existing}' is not a folder that can be written; choose another")


def _require_memory(solver: Solver, case: Case) -> None:
    """Print the memory estimate, and refuse a job that cannot fit."""
    import psutil

    from qsm_recon.errors import ResourceError
    from qsm_recon.operators.padding import padded_shape

    parameters = solver.parameters()
    voxels = float(np.prod(padded_shape(case.problem.grid.shape, parameters.get("padding", 0))))
    item = 8 if parameters.get("precision") == "double" else 4
    needed = solver.memory_volumes() * voxels * item / 2**30
    available = psutil.virtual_memory().available / 2**30
    logger.info("memory: about %.2f GiB needed, %.1f GiB available", needed, available)
    if needed > available:
        raise ResourceError(
            f"memory: about {needed:.1f} GiB needed but {available:.1f} GiB available; "
            "close other programs, use --set precision=single or less padding, or a machine with more memory"
        )


def _solve(solver: Solver, case: Case, *, quiet: bool) -> Reconstruction:
    shape = "×".join(str(n) for n in case.problem.grid.shape)
    logger.info("%s: %s, B0 %.1f° off the nearest axis", case.name, shape, case.problem.grid.b0_angle_deg)
    for note in (*case.notes, *case.problem.notes):
        logger.info("note: %s", note)
    with iteration_progress(solver.name, quiet=quiet) as callback:
        return solver.solve(case.problem, callback=callback)


def _score(susceptibility: NDArray, case: Case) -> dict[str, Any]:
    """Error metrics, where a truth is there."""
    if case.truth is None:
        return {}
    from qsm_recon.metrics import evaluate

    truth = case.truth
    mask = case.problem.mask if truth.evaluation_mask is None else truth.evaluation_mask
    scores = evaluate(
        susceptibility,
        truth.susceptibility_ppm,
        mask,
        truth.labels,
        calcification_moment=truth.calcification_moment,
    )
    return {**scores.values, "not_computed": dict(scores.reasons)}


def _write(
    folder: Path,
    case: Case,
    solver: Solver,
    result: Reconstruction,
    susceptibility: NDArray,
    metrics: dict[str, Any],
    *,
    command: list[str],
    reference: str,
) -> None:
    from qsm_recon.io import save_image, write_json
    from qsm_recon.report.document import run_document
    from qsm_recon.report.run_figure import Panel, run_figure, save_figure

    mask = case.problem.mask
    save_image(folder / "chi.nii.gz", susceptibility, case.affine)
    for name, image in result.images.items():
        save_image(folder / f"{name}.nii.gz", np.asarray(image, np.float32), case.affine)
    field = case.problem.field_ppm
    window = float(np.percentile(np.abs(field[mask]), 98)) or 1.0
    panels = [Panel("field [ppm]", field, window), Panel("susceptibility [ppm]", susceptibility, 0.1)]
    if case.truth is not None:
        truth = case.truth.susceptibility_ppm
        error = susceptibility - susceptibility[mask].mean() - (truth - truth[mask].mean())
        panels.append(Panel("error [ppm]", error, 0.1))
    state = "" if result.converged else f" — did not converge: {result.stop_reason}"
    figure = run_figure(panels, mask, case.affine, result.history, f"{solver.title} · {case.name}{state}")
    save_figure(figure, folder / "figure.png")
    document = run_document(case, solver, result, command=command, reference=reference, metrics=metrics)
    write_json(folder / "report.json", document)


def _summarise(folder: Path, solver: Solver, result: Reconstruction, metrics: dict[str, Any], *, quiet: bool) -> None:
    if not result.converged:
        logger.warning("%s did not converge: %s (the result is written and marked)", solver.name, result.stop_reason)
    if quiet:
        return
    for name, value in metrics.items():
        if isinstance(value, float):
            print(f"{name:>32}: {value:.4g}")
    print(
        f"{solver.name}: {result.iterations} iterations, {result.timings_s['solve']:.1f} s, {result.stop_reason}; "
        f"susceptibility map, picture and report are in {folder}/"
    )


if __name__ == "__main__":
    sys.exit(main())
