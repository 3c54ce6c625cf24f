"""The options of the reconstruction command, and what they ask for: a solver, a case, a zero reference."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.device import CPU
from qsm_recon.commands.background import BACKGROUND_OPTIONS, add_background_options
from qsm_recon.commands.line import CommandParser, add_version_option, require_writable
from qsm_recon.commands.words import given_options, option_words
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.parameters import parse_settings
from qsm_recon.select.choosers import CHOOSERS
from qsm_recon.solvers.base import Solver
from qsm_recon.solvers.registry import find_solver, make_solver

if TYPE_CHECKING:
    from qsm_recon.datasets.case import Case

DEFAULT_ALGORITHM = "fansi"
DEFAULT_DATASET = "phantom:sim2?size=reduced"
INPUT_FILE_OPTIONS = ("field", "phase", "real", "imaginary", "mask", "magnitude", "weight")
FILE_OPTIONS = (*INPUT_FILE_OPTIONS, "truth", "labels")
ACQUISITION_OPTIONS = ("field_unit", "b0", "te")
ECHO_OPTIONS = ("field_estimate", "phase_unit", "phase_sign", "bipolar")
READING_OPTIONS = (*ECHO_OPTIONS, "b0_direction", "accept_range", *BACKGROUND_OPTIONS)
OTHER_DATA_OPTIONS = (*READING_OPTIONS, "seed")
RECONSTRUCTION_OPTIONS = ("algo", "set", "regularisation", "select", "two_pass", "reference")


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = CommandParser(
        prog="python -m qsm_recon.run",
        description="Reconstruct a susceptibility map (ppm) from a local field map or from multi-echo phase.",
        epilog="Add --help to --algo NAME to see that algorithm's parameters.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    general = parser.add_argument_group("what to do")
    general.add_argument("--list", action="store_true", help="list the algorithms and exit")
    general.add_argument("-h", "--help", action="store_true", help="show this help, with the algorithm's parameters")
    general.add_argument(
        "--cite",
        nargs="?",
        const="",
        metavar="NAME",
        help="print BibTeX of an algorithm or background removal (default: of --algo and --background) and exit",
    )
    add_method_options(general)
    add_reconstruction_options(general)

    add_data_options(parser)

    output = parser.add_argument_group("output and machine")
    output.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="folder (default: %(default)s)")
    add_stage_option(output)
    output.add_argument(
        "--html", action="store_true", help="write a page with a viewer as well (report.html), which needs no network"
    )
    add_machine_options(output)
    return parser


def add_method_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that name an algorithm and set its parameters."""
    group.add_argument("--algo", default=DEFAULT_ALGORITHM, metavar="NAME", help="algorithm (default: %(default)s)")
    group.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the algorithm; repeatable"
    )


def add_reconstruction_options(group: argparse._ArgumentGroup) -> None:
    """Add the options of one reconstruction beside its method."""
    *others, last = CHOOSERS
    group.add_argument(
        "--regularisation",
        "--regularization",
        type=float,
        metavar="VALUE",
        help="the main regularisation parameter, whatever its name",
    )
    group.add_argument(
        "--select",
        metavar="RULE",
        help=f"choose the main regularisation parameter by a sweep first: {', '.join(others)} or {last}",
    )
    group.add_argument(
        "--two-pass",
        action="store_true",
        help="reconstruct once more without voxels of unreliable phase, and take these from the first pass",
    )
    group.add_argument(
        "--reference",
        default="auto",
        metavar="auto|mean|none|MASK",
        help="zero point of the map: mean over the mask, none, or mean over a mask file (default: auto, that of the "
        "method where it has one, else mean)",
    )


def add_stage_option(group: argparse._ArgumentGroup) -> None:
    """Add the option to keep what arises on the way."""
    group.add_argument("--keep-stages", action="store_true", help="write the maps of every stage as well (stage_*)")


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what to reconstruct."""
    data = parser.add_argument_group("input (none: the embedded phantom)")
    data.add_argument(
        "--dataset", metavar="SPEC", help="phantom:sim1, phantom:sim2, rc1:DIR, rc2:DIR, bids:DIR or qsmci:DIR"
    )
    data.add_argument("--field", type=Path, metavar="NIFTI", help="local field map (or total, see --background)")
    data.add_argument("--field-unit", choices=("ppm", "ppb", "Hz", "rad", "rad/s"), help="its unit")
    data.add_argument(
        "--phase", type=Path, nargs="+", metavar="NIFTI", help="multi-echo phase, 4D or one per echo; or complex images"
    )
    data.add_argument(
        "--mask",
        type=Path,
        metavar="NIFTI",
        help="binary mask of the voxels to reconstruct (default: made from phase quality and magnitude)",
    )
    data.add_argument(
        "--magnitude", type=Path, nargs="+", metavar="NIFTI", help="magnitude (one per echo with --phase)"
    )
    data.add_argument("--real", type=Path, nargs="+", metavar="NIFTI", help="real part, instead of magnitude and phase")
    data.add_argument("--imaginary", type=Path, nargs="+", metavar="NIFTI", help="imaginary part")
    data.add_argument("--weight", type=Path, metavar="NIFTI", help="data weight W, any scale")
    data.add_argument("--b0", type=float, metavar="TESLA", help="field strength in T (default: of JSON files)")
    data.add_argument(
        "--te", type=float, nargs="+", default=[], metavar="SECONDS", help="echo times in s (default: of JSON files)"
    )
    data.add_argument("--truth", type=Path, metavar="NIFTI", help="true susceptibility (ppm): adds error metrics")
    data.add_argument("--labels", type=Path, metavar="NIFTI", help="label map in the challenge's numbering")
    add_reading_options(data)


def add_reading_options(group: argparse._ArgumentGroup) -> None:
    """Add the options on how echoes are read and become a field."""
    group.add_argument(
        "--phase-unit",
        metavar="UNIT",
        help="unit of the phase, a name or --phase-unit=LOW:HIGH, both ends of one turn (default: recognised, and "
        "reported)",
    )
    group.add_argument(
        "--phase-sign",
        choices=("positive", "negative"),
        help="negative where the scanner writes phase that falls with a growing field (default: positive)",
    )
    group.add_argument(
        "--bipolar",
        choices=("auto", "yes", "no"),
        help="odd and even echoes were read in opposite directions (default: auto, found out and reported)",
    )
    group.add_argument(
        "--field-estimate",
        choices=("fit", "difference"),
        help="field from echoes: nonlinear fit (default) or differences",
    )
    group.add_argument(
        "--b0-direction",
        type=float,
        nargs="+",
        metavar="X",
        help="field direction in voxel axes (default: from affine)",
    )
    group.add_argument(
        "--accept-range", action="store_true", help="accept a field or phase whose range does not fit its unit"
    )
    add_background_options(group)


def add_machine_options(group: argparse._ArgumentGroup) -> None:
    """Add the options on how to run."""
    add_resource_options(group)
    add_device_option(group)
    group.add_argument("--seed", type=int, metavar="N", help="seed of the phantom's noise")
    group.add_argument("--no-cache", action="store_true", help="neither read nor keep a phantom in the user's cache")


def add_device_option(group: argparse._ArgumentGroup) -> None:
    """Add the option on where the algorithm computes."""
    group.add_argument(
        "--device",
        default=CPU,
        metavar="NAME",
        help="where the algorithm computes: cpu, or cuda or cuda:N, which need the extra torch (default: %(default)s)",
    )


def add_resource_options(
    group: argparse._ArgumentGroup,
    threads: str = "threads (default: all cores)",
    memory: str = "refuse a job that needs more memory (default: all there is)",
) -> None:
    """Add the options on what a command may take; their help texts may be others."""
    group.add_argument("--threads", type=int, metavar="N", help=threads)
    group.add_argument("--memory-limit", type=float, metavar="GIB", help=memory)
    group.add_argument("--quiet", action="store_true", help="no progress, warnings only")
    add_version_option(group)


def solver_from_options(options: argparse.Namespace) -> Solver:
    """Make the solver that the options ask for.

    Raises
    ------
    ParameterError
        If the algorithm or a parameter is unknown, malformed or out of range.
    """
    kind = find_solver(options.algo)
    chosen = parse_settings(kind, options.set, "--set")
    if getattr(options, "regularisation", None) is not None:
        main_name = kind.main_parameter().name
        if main_name in chosen:
            raise ParameterError(f"--regularisation and --set {main_name} both set the same parameter; give one")
        chosen[main_name] = options.regularisation
    if hasattr(options, "regularisation") and options.select is not None and kind.main_parameter().name in chosen:
        raise ParameterError(f"--select {options.select} chooses {kind.main_parameter().name}; do not set it as well")
    return make_solver(options.algo, **chosen)


def case_from_options(options: argparse.Namespace) -> Case:
    """Read the data set or the files that the options name.

    Raises
    ------
    QSMError
        If they are missing, contradictory or unusable.
    """
    given = given_options(options, FILE_OPTIONS)
    source = options.dataset or ("files" if given_options(options, INPUT_FILE_OPTIONS) else DEFAULT_DATASET)
    if options.seed is not None and not source.startswith("phantom:"):
        raise ParameterError(
            f"--seed {options.seed}: has no meaning without a phantom (--dataset phantom:…); leave it out"
        )
    if options.dataset or not given:
        return _case_from_dataset(options)
    from qsm_recon.datasets.files import case_from_files

    if options.field is None and not options.phase and not options.real and not options.imaginary:
        raise ParameterError(f"{', '.join(given)} given without --field or --phase; give one of them")
    if options.field is not None:
        if options.field_unit is None:
            raise ParameterError("--field needs --field-unit ppm, ppb, Hz, rad or rad/s: the unit is never guessed")
        useless = given_options(options, ECHO_OPTIONS)
    else:
        useless = given_options(options, ("field_unit",))
    if useless:
        raise ParameterError(f"{', '.join(useless)}: has no meaning for --{'field' if options.field else 'phase'}")
    return case_from_files(
        field=options.field,
        field_unit=options.field_unit or "ppm",
        mask=options.mask,
        magnitude=options.magnitude,
        weight=options.weight,
        phase=options.phase,
        real=options.real,
        imaginary=options.imaginary,
        field_estimate=options.field_estimate or "fit",
        phase_unit=options.phase_unit or "auto",
        phase_sign=options.phase_sign or "positive",
        bipolar=options.bipolar or "auto",
        b0_tesla=options.b0,
        echo_times_s=tuple(options.te),
        b0_direction=options.b0_direction,
        truth=options.truth,
        labels=options.labels,
        accept_range=options.accept_range,
    )


def _case_from_dataset(options: argparse.Namespace) -> Case:
    from qsm_recon.datasets.registry import load_case

    inputs = given_options(options, (*INPUT_FILE_OPTIONS, *ACQUISITION_OPTIONS))
    if inputs:
        raise ParameterError(
            f"{', '.join(inputs)}: a data set brings its own; leave them out, or give files instead of a data set"
        )
    case = load_case(
        _seeded(options.dataset or DEFAULT_DATASET, options.seed),
        field_estimate=options.field_estimate,
        b0_direction=options.b0_direction,
        phase_unit=options.phase_unit or "auto",
        accept_range=options.accept_range,
        phase_sign=options.phase_sign,
        bipolar=options.bipolar,
        cache=not options.no_cache,
    )
    if options.labels is not None and options.truth is None:
        raise ParameterError("--labels: give the truth they belong to as well (--truth)")
    return case if options.truth is None else case.with_truth(options.truth, options.labels)


def describe_mask(case: Case) -> str:
    """Say which mask is used: the file, which a data set may have found by itself, or how it was made."""
    return f"mask: {case.sources.get('mask', 'of the data set')}, {int(case.given_mask.sum())} voxels"


def data_arguments(options: argparse.Namespace) -> list[str]:
    """Write the options that say what to reconstruct as they would be given to the reconstruction command."""
    names = (*FILE_OPTIONS, *ACQUISITION_OPTIONS, *OTHER_DATA_OPTIONS)
    words = [] if given_options(options, FILE_OPTIONS) and not options.dataset else [
        "--dataset", options.dataset or DEFAULT_DATASET
    ]  # fmt: skip
    return words + option_words(options, names)


def _seeded(dataset: str, seed: int | None) -> str:
    """Hand the seed to a phantom."""
    return dataset if seed is None else f"{dataset}{'&' if '?' in dataset else '?'}noise_seed={seed}"


def reference_from_options(choice: str, case: Case) -> tuple[Case, NDArray[np.bool_] | None, str]:
    """Region whose mean becomes zero.

    Parameters
    ----------
    choice
        ``auto``, ``mean``, ``none``, or a mask file; ``auto`` is the mean where the method has no zero of its own.
    case
        The data set.

    Returns
    -------
    case
        The same, with the mask file among its sources.
    region
        (nx, ny, nz) boolean, None for no shift.
    description
        For the report.

    Raises
    ------
    DataError
        If the file is no mask, lies on another grid, or does not meet the mask of the problem.
    """
    if choice == "none":
        return case, None, "none"
    if choice in ("auto", "mean"):
        return case, case.problem.mask, "mean over the mask"
    from qsm_recon.io import Image, load_mask, require_same_geometry

    image = load_mask(choice)
    first = next(iter(case.sources.values()), case.name)
    require_same_geometry(Image(case.problem.field_ppm, case.affine, Path(first)), image)
    region = image.data & case.problem.mask
    if not region.any():
        raise DataError(f"{choice}: the reference region does not meet the mask; choose another")
    return replace(case, sources={**case.sources, "reference": choice}), region, f"mean over {choice}"


def output_folder(options: argparse.Namespace) -> Path:
    """Folder for the results, after making sure that it can be written and that no input would be overwritten.

    Raises
    ------
    ResourceError
        If it cannot be made or written.
    ParameterError
        If a result would replace an input.
    """
    from qsm_recon.errors import ResourceError
    from qsm_recon.report.document import STAGE_PREFIX
    from qsm_recon.report.outputs import OUTPUT_NAMES, PAGE_NAME

    folder: Path = options.out
    require_writable(folder, f"--out {folder}", "choose another")
    names = (*OUTPUT_NAMES, *([PAGE_NAME] if options.html else []))
    for name in names:
        if (folder / name).is_dir():
            raise ResourceError(f"--out {folder}: '{folder / name}' is a folder in the way; choose another place")
    used = [options.field, options.mask, options.weight, options.truth, options.labels]
    used += [path for name in ("phase", "magnitude", "real", "imaginary") for path in getattr(options, name) or []]
    used.append(Path(options.reference))
    written = {(folder / name).resolve() for name in names}
    for path in used:
        if path is None or not path.exists():
            continue
        # Which stages there will be only the data tell.
        stage = options.keep_stages and path.name.startswith(STAGE_PREFIX) and path.resolve().parent == folder.resolve()
        if stage or path.resolve() in written:
            raise ParameterError(f"--out {folder}: the result would replace the input {path}; choose another folder")
    return folder
