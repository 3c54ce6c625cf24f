"""Rate maps by eye, blinded: ``python -m benchmarks.rating MAP… --out rating``, then ``--collect *.json``.

The first writes ``rating.html``, which raters open from their disk, and ``key.json``, which stays with you.  The second
reads the files that raters saved, unblinds them and prints means, agreement between raters and, where a truth was
given to the first, how the ratings correlate with the metrics.  Exit code 0: done; 2: bad usage or input.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.rating.collect import read_ratings, summarise, table
from benchmarks.rating.pages import KEY, read_material, write_rating
from benchmarks.suite.command import BenchmarkParser
from qsm_recon.commands.line import EXIT_DONE, logger, run_command
from qsm_recon.errors import ParameterError
from qsm_recon.io import write_json

SUMMARY = "summary.json"
FOR_A_PAGE = {"maps": "MAP", "mask": "--mask", "truth": "--truth", "labels": "--labels", "at": "--at", "seed": "--seed"}
"""Options that have no meaning where ratings are collected."""


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = BenchmarkParser(
        prog="python -m benchmarks.rating",
        description="Rate susceptibility maps by eye as the 2019 challenge did: blinded, in random order, streaking, "
        "unnaturalness and noise from 0 to 3.",
    )
    parser.add_argument("maps", nargs="*", type=Path, metavar="MAP", help="maps in ppm on one grid (NIfTI)")
    parser.add_argument(
        "--out", type=Path, default=Path("rating"), metavar="DIR",
        help="folder of page and key, or of the summary (default: %(default)s)",
    )  # fmt: skip
    page = parser.add_argument_group("a page to rate with")
    page.add_argument("--mask", type=Path, metavar="NIFTI", help="what is shown (default: where the truth is not zero)")
    page.add_argument("--truth", type=Path, metavar="NIFTI", help="true susceptibility (ppm): metrics go into the key")
    page.add_argument(
        "--labels", type=Path, metavar="NIFTI", help="labels of the challenge: where the views go through"
    )
    page.add_argument(
        "--at", action="append", default=[], metavar="NAME=I,J,K", help="a place for three views, repeatable"
    )
    page.add_argument("--window", type=float, default=0.1, metavar="PPM", help="grey window ± (default: %(default)s)")
    page.add_argument("--seed", type=int, metavar="N", help="of names and order (default: drawn, kept in the key)")
    collect = parser.add_argument_group("what raters saved")
    collect.add_argument("--collect", nargs="+", type=Path, metavar="JSON", help="their files, one each")
    collect.add_argument(
        "--key", nargs="+", type=Path, metavar="JSON", help=f"key of the page, or of several (default: DIR/{KEY})"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, warnings only")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = build_parser().parse_args(arguments)
    return run_command(lambda: _collect(options) if options.collect else _write(options), quiet=options.quiet)


def _write(options: argparse.Namespace) -> int:
    if options.key:
        raise ParameterError("--key: has no meaning without --collect")
    material = read_material(options.mask, options.truth, options.labels)
    page, key, notes = write_rating(
        options.maps, options.out, material,
        at=options.at, window_ppm=options.window, seed=options.seed, progress=lambda name: logger.info("%s", name),
    )  # fmt: skip
    for note in notes:
        print(f"note: {note}")
    print(f"page for the raters: {page}")
    print(f"key, to be kept from them: {key}")
    print(
        f"when they have saved their files: python -m benchmarks.rating --collect *.json --key {shlex.quote(str(key))}"
    )
    return EXIT_DONE


def _collect(options: argparse.Namespace) -> int:
    useless = [name for option, name in FOR_A_PAGE.items() if getattr(options, option) not in (None, [])]
    if useless:
        raise ParameterError(f"{', '.join(useless)}: has no meaning with --collect")
    summary = summarise(read_ratings(options.collect, options.key or [options.out / KEY]))
    print(table(summary))
    print(f"summary: {write_json(options.out / SUMMARY, summary)}")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
