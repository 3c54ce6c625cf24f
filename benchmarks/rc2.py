"""The 2019 reconstruction challenge replayed: ``python -m benchmarks.rc2 --stage 1|2``.

Stage 1: every method on SIM1 and SIM2 at a peak SNR of 100, with one set of parameters for both, chosen without the
truth: ``auto`` chooses on each, and the geometric mean of the two weights is the one set; everything else is at its
default.  Stage 2: on every data set the weight with the smallest NRMSE, the truth in hand (steps of 1.6), at SNR 100
and 1000.  All eight official and seven further metrics, top-five counts, seconds and memory, as JSON, CSV and Markdown.

A run that was interrupted goes on with the same command.  Exit code 0: done; 2: bad usage or data; 130: interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.suite.cases import check, full_specification
from benchmarks.suite.challenge_table import stage_tables
from benchmarks.suite.command import BenchmarkParser, guarded
from benchmarks.suite.methods import INPUTS, entries
from benchmarks.suite.record import Row
from benchmarks.suite.runner import add_run_options, run_plan, run_settings
from benchmarks.suite.stages import other_data, phantom_data, stage_one, stage_two
from benchmarks.suite.store import read_rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print."""
    options = _parser().parse_args(arguments)
    return guarded(lambda: _run(options))


def table_name(stage: int, size: str, *, other: bool = False) -> str:
    """Name of a table's file."""
    return f"rc2_stage{stage}_{'data' if other else size}"


def _parser() -> argparse.ArgumentParser:
    parser = BenchmarkParser(prog="python -m benchmarks.rc2", description=__doc__)
    parser.add_argument("--stage", type=int, choices=(1, 2), required=True)
    parser.add_argument("--size", choices=("full", "reduced"), default="reduced", help="of the phantom")
    parser.add_argument("--only", nargs="+", metavar="METHOD", help="only these")
    parser.add_argument(
        "--inputs", nargs="+", choices=tuple(INPUTS), default=list(INPUTS), metavar="INPUT",
        help="of " + ", ".join(f"'{name}'" for name in INPUTS) + "; all but the first for a few methods",
    )  # fmt: skip
    parser.add_argument("--rule", default="auto", help="what chooses without the truth: auto, default, lcurve, ...")
    parser.add_argument(
        "--data", nargs="+", metavar="CASE",
        help="in place of the phantom: rc1:DIR, rc2:DIR?case=NAME, bids:DIR, qsmci:DIR, FILE.npz",
    )  # fmt: skip
    add_run_options(parser)
    return parser


def _run(options: argparse.Namespace) -> int:
    chosen = entries(options.only)
    texts = [full_specification(text) for text in options.data or ()]
    for text in texts:
        check(text)
    data = other_data(texts) if texts else phantom_data(options.stage, options.size)
    name = table_name(options.stage, options.size, other=bool(texts))
    if options.stage == 1:
        plan = stage_one(chosen, options.inputs, data, options.rule)
    else:
        plan = stage_two(chosen, options.inputs, data)
    settings = run_settings(options)
    rows: list[Row] = read_rows(name, settings.results) if options.show else run_plan(name, plan, settings)
    print(stage_tables(rows, options.stage))
    if not options.show:
        print(f"\n{len(rows)} rows are in {settings.results / name}.json and .csv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
