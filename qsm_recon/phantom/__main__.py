"""Write the embedded head phantom for any software: ``python -m qsm_recon.phantom --out DIR --format nifti``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qsm_recon.commands.line import (
    EXIT_DONE,
    CommandParser,
    add_version_option,
    require_writable,
    run_as_program,
    run_command,
)
from qsm_recon.phantom import PHANTOM_VERSION, PhantomParameters, build_phantom
from qsm_recon.phantom.export import LAYOUTS, export_phantom
from qsm_recon.phantom.lesions import SYNTAX, parse_lesions
from qsm_recon.phantom.parameters import CASES, SIZES
from qsm_recon.phantom.presets import PRESETS, with_preset
from qsm_recon.phantom.record import claim

LOADED_AS = {
    "bids": "bids:{place}?truth=derivatives/truth/sub-{case}/anat/sub-{case}_Chimap.nii.gz"
    "&labels=derivatives/truth/sub-{case}/anat/sub-{case}_dseg.nii.gz",
    "rc2": "rc2:{place}?evaluation_mask=GT/MaskEvaluation.nii.gz",
    "qsmci": "qsmci:{place}",
}
LESION_EXAMPLE = '"-2.6@20,-6,4:3"'
DETAIL_OPTIONS = {
    "texture": ("texture_ppm", "PPM", "standard deviation of texture added in all tissue"),
    "texture-slope": ("texture_slope", "S", "its power falls as spatial frequency to the power of minus this"),
    "vessels": ("vessel_density", "N", "number of veins over that of the published phantom"),
    "vessel-ppm": ("vessel_ppm", "PPM", "susceptibility of venous blood"),
    "remnant": ("remnant_ppm", "PPM", "root mean square of a field that the removal of the background left"),
    "microstructure": ("microstructure_ppm", "PPM", "A of the frequency shift A (sin²θ - 2/3) of white matter"),
}
"""Option to the parameter it sets, its unit and what it means."""


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    default = PhantomParameters()
    parser = CommandParser(
        prog="python -m qsm_recon.phantom",
        description="Simulate a head at 7 T with known susceptibility and write its echoes and truth. "
        "The defaults are those of the 2019 reconstruction challenge.",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write to")
    parser.add_argument("--format", choices=tuple(LAYOUTS), default="nifti", help="layout of the files")
    parser.add_argument("--case", choices=CASES, default=default.case, help="sim2 has a calcification")
    parser.add_argument("--size", choices=tuple(SIZES), default=default.size, help="full: 1 mm; reduced: 2 mm")
    parser.add_argument("--snr", type=float, default=default.snr, help="peak SNR: 100, 1000, any, or inf")
    parser.add_argument("--seed", type=int, default=default.seed, help="selects the head (default %(default)s)")
    parser.add_argument("--noise-seed", type=int, default=default.noise_seed, help="selects the noise")
    parser.add_argument("--b0", type=float, default=default.b0_tesla, metavar="T", help="main field")
    parser.add_argument(
        "--te", type=float, nargs="+", default=default.echo_times_s, metavar="S", help="echo times in s"
    )
    parser.add_argument(
        "--b0-direction", type=float, nargs=3, default=default.b0_direction, metavar="B", help="in voxel axes"
    )
    parser.add_argument(
        "--voxel-size", type=float, nargs=3, metavar="MM", help="image voxel; by default that of --size"
    )
    parser.add_argument("--background", action="store_true", help="add the field of the air around the head")
    parser.add_argument("--rf-phase", type=float, default=0.0, metavar="RAD", help="smooth phase at echo time zero")
    _add_details(parser)
    parser.add_argument("--no-cache", action="store_true", help="neither read nor keep anything in the user's cache")
    add_version_option(parser, f" (phantom version {PHANTOM_VERSION})")
    return parser


def _add_details(parser: argparse.ArgumentParser) -> None:
    """Options of what the published phantom does not have."""
    group = parser.add_argument_group("nearer to real anatomy (docs/phantom.md)")
    group.add_argument(
        "--anatomy", choices=tuple(PRESETS), default="published", help="a set of these options, which go before it"
    )
    for flag, (_, unit, text) in DETAIL_OPTIONS.items():
        group.add_argument(f"--{flag}", type=float, metavar=unit, help=text)
    group.add_argument(
        "--calcification",
        metavar=SYNTAX,
        help=f"in ppm and mm, in place of SIM2's own: --calcification={LESION_EXAMPLE}; several by ';', or none",
    )
    group.add_argument("--haemorrhage", metavar=SYNTAX, help="the same with a susceptibility above 0")
    group.add_argument("--detail-seed", type=int, metavar="N", help="selects texture and remnant in the same head")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = build_parser().parse_args(arguments)
    return run_command(lambda: _write(options))


def _write(options: argparse.Namespace) -> int:
    parameters = PhantomParameters(
        case=options.case,
        size=options.size,
        snr=options.snr,
        seed=options.seed,
        noise_seed=options.noise_seed,
        b0_tesla=options.b0,
        echo_times_s=tuple(options.te),
        b0_direction=tuple(options.b0_direction),
        voxel_size_mm=None if options.voxel_size is None else tuple(options.voxel_size),
        background=options.background,
        rf_phase_offset_rad=options.rf_phase,
        **with_preset(options.anatomy, _details(options)),
    )
    require_writable(options.out, f"--out {options.out}", "choose another")
    claim(parameters, options.out, options.format)  # before minutes are spent on it
    phantom = build_phantom(parameters, cache=not options.no_cache)
    place = export_phantom(phantom, options.out, options.format)
    print(f"{options.case}, {'x'.join(map(str, phantom.mask.shape))} voxels, written to {place}")
    if options.format in LOADED_AS:
        print(f"reconstruct it with --dataset '{LOADED_AS[options.format].format(place=place, case=options.case)}'")
    return EXIT_DONE


def _details(options: argparse.Namespace) -> dict[str, Any]:
    """Parameters of what the published phantom does not have; None where they were not given."""
    values = vars(options)
    details = {name: values[flag.replace("-", "_")] for flag, (name, _, _) in DETAIL_OPTIONS.items()}
    for kind in ("calcification", "haemorrhage"):
        details[f"{kind}s"] = None if values[kind] is None else parse_lesions(values[kind], kind)
    return {**details, "detail_seed": options.detail_seed}


if __name__ == "__main__":
    run_as_program(main)
