"""Studies of single questions: ``python -m benchmarks.study NAME``.

The same runner, schema and tables as the challenge's stages and the ablations.  Studies of the 2016 challenge's data
need ``--data rc1:DIR``.  Exit code 0: done; 2: bad usage or data; 130: interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.suite.cases import check, full_specification
from benchmarks.suite.command import BenchmarkParser, guarded
from benchmarks.suite.runner import add_run_options, run_plan, run_settings
from benchmarks.suite.store import read_rows
from benchmarks.suite.studies import STUDIES
from benchmarks.suite.study import Study, StudyOptions
from qsm_recon.errors import ParameterError, did_you_mean


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print."""
    listed = "\n".join(f"  {study.name:<15} {study.description}" for study in STUDIES.values())
    parser = BenchmarkParser(
        prog="python -m benchmarks.study", description=f"{__doc__}\nstudies:\n{listed}",
    )  # fmt: skip
    parser.add_argument("name", help="of the study")
    parser.add_argument("--size", choices=("full", "reduced"), default="reduced", help="of the phantom")
    parser.add_argument("--data", metavar="CASE", help="another data set")
    parser.add_argument("--only", nargs="+", metavar="METHOD", help="only these")
    add_run_options(parser)
    options = parser.parse_args(arguments)
    return guarded(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    if options.name not in STUDIES:
        raise ParameterError(f"study '{options.name}' is unknown{did_you_mean(options.name, STUDIES)}")
    study, settings = STUDIES[options.name], run_settings(options)
    data = None if options.data is None else full_specification(options.data)
    if data is not None:
        check(data)
    chosen = StudyOptions(options.size, data, None if options.only is None else tuple(options.only))
    if options.show:
        rows = read_rows(study.name, settings.results)
    else:
        _require_methods(study, chosen)
        rows = run_plan(study.name, study.plan(chosen), settings)
    print(study.table(rows))
    return 0


def _require_methods(study: Study, chosen: StudyOptions) -> None:
    """Refuse a method that the study does not have."""
    has = {planned.job.solver for planned in study.plan(replace(chosen, only=None))(lambda _job: None)}
    for name in chosen.only or ():
        if name not in has:
            raise ParameterError(f"--only: study '{study.name}' has no method '{name}'{did_you_mean(name, has)}")


if __name__ == "__main__":
    sys.exit(main())
