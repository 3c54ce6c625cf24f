"""One factor at a time: ``python -m benchmarks.ablation --factor NAME``.

A base method on one data set, everything as it was but for one factor.  At every level the main parameter is the one
with the smallest NRMSE, the truth in hand, since levels that change the functional change what a weight means;
``--weight auto`` chooses without the truth, ``--weight default`` takes the default.  JSON, CSV, a Markdown table and a
figure.

A factor of your own is a file that defines ``FACTOR``, given in place of the name; or, where it is a parameter of the
method, ``--vary PARAMETER=VALUE,VALUE,...``.  Exit code 0: done; 2: bad usage or data; 130: interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.suite.ablation_report import ablation_figure, ablation_table
from benchmarks.suite.cases import check, full_specification, name_of
from benchmarks.suite.command import BenchmarkParser, guarded
from benchmarks.suite.factors import FACTORS, Factor, parameter_factor
from benchmarks.suite.job import Job, load_function
from benchmarks.suite.record import Row
from benchmarks.suite.runner import Known, Planned, RunSettings, add_run_options, run_plan, run_settings
from benchmarks.suite.store import read_rows
from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.io import atomic_write
from qsm_recon.solvers.registry import find_solver

DOTS_PER_INCH = 110
CASE = "phantom:sim2?size=reduced"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print."""
    options = _parser().parse_args(arguments)
    return guarded(lambda: _run(options))


def run_ablation(
    factor: Factor, *, base: str | None = None, case: str = CASE, weight: str = "truth",
    settings: RunSettings | None = None,
) -> list[Row]:  # fmt: skip
    """Run an ablation and return its rows; levels that failed have the reason.

    Parameters
    ----------
    factor
        What is varied.
    base
        Method; by default the factor's.
    case
        Data set.
    weight
        How the main parameter is found, see :class:`benchmarks.suite.job.Job`.
    settings
        How jobs are run.
    """
    method = base or factor.base
    find_solver(method)
    check(case)
    jobs = {level: factor.job(level, method, case, weight) for level in factor.levels}
    tags = {"factor": factor.name, "base": method, "data": name_of(case), "weight by": weight}
    planned = [Planned(job, {**tags, "level": level}) for level, job in jobs.items()]

    def plan(_known: Known) -> Sequence[Planned]:
        return planned

    rows = run_plan(table_name(factor), plan, settings or RunSettings())
    return select(rows, factor, tags)


def table_name(factor: Factor) -> str:
    """Name of a table's file."""
    return f"ablation_{factor.name}"


def select(rows: Sequence[Row], factor: Factor, tags: dict[str, str]) -> list[Row]:
    """Rows of one ablation, in the order of its levels; a table may hold those of other bases and data sets."""
    mine = {row.tags["level"]: row for row in rows if {**row.tags, "level": ""} == {**tags, "level": ""}}
    return [mine[level] for level in factor.levels if level in mine]


def find_factor(name: str, vary: str | None, base: str | None) -> Factor:
    """A factor by its name or file, or from a parameter.

    Raises
    ------
    ParameterError
        If there is none.
    """
    if vary is not None:
        return parameter_factor(vary, base or "tv")
    if name.endswith(".py"):
        found = load_function(f"{name}:FACTOR")
        if not isinstance(found, Factor):
            raise ParameterError(
                f"{name}: FACTOR is a {type(found).__name__}; expected benchmarks.suite.factors.Factor"
            )
        return found
    if name not in FACTORS:
        raise ParameterError(f"factor '{name}' is unknown{did_you_mean(name, FACTORS)}")
    return FACTORS[name]


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {factor.name:<15} {factor.description}" for factor in FACTORS.values())
    parser = BenchmarkParser(
        prog="python -m benchmarks.ablation", description=f"{__doc__}\nfactors:\n{listed}",
    )  # fmt: skip
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--factor", default="", help="its name, or a file that defines FACTOR")
    what.add_argument("--vary", metavar="PARAMETER=VALUES", help="a parameter of the base method, values by commas")
    parser.add_argument("--base", metavar="METHOD", help="by default what suits the factor")
    parser.add_argument("--case", default=CASE, help=f"data set (default {CASE})")
    parser.add_argument("--weight", default="truth", help="truth (default), auto, default, or another rule")
    add_run_options(parser)
    return parser


def _run(options: argparse.Namespace) -> int:
    factor = find_factor(options.factor, options.vary, options.base)
    settings, case = run_settings(options), full_specification(options.case)
    base = options.base or factor.base
    Job.of(base, case, options.weight)
    if options.show:
        tags = {"factor": factor.name, "base": base, "data": name_of(case), "weight by": options.weight}
        rows = select(read_rows(table_name(factor), settings.results), factor, tags)
    else:
        rows = run_ablation(factor, base=base, case=case, weight=options.weight, settings=settings)
    print(ablation_table(rows))
    if rows and not options.show:
        path = _draw(rows, factor, settings.results)
        print(f"\nrows are in {settings.results / table_name(factor)}.json and .csv, the figure is {path.name}")
    return 0


def _draw(rows: Sequence[Row], factor: Factor, folder: Path) -> Path:
    figure = ablation_figure(rows, factor)
    path = folder / f"{table_name(factor)}.png"
    return atomic_write(path, lambda temporary: figure.savefig(temporary, dpi=DOTS_PER_INCH))


if __name__ == "__main__":
    sys.exit(main())
