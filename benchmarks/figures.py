"""Figures after those of the challenge's report: ``python -m benchmarks.figures [--size full|reduced]``.

From what ``python -m benchmarks.rc2`` stored: the five leaders with error maps, spider plots, stage 1 against stage 2,
SNR 100 against 1000 (Bland-Altman), correlation of metrics, and metrics by class of method and of input.  A figure
whose rows or maps are not stored is left out, with a line that says so; ``--solve`` makes maps that are not kept again,
at the weights of the rows.  PNG files beside the tables.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.rc2 import table_name
from benchmarks.suite import plots
from benchmarks.suite.cases import load
from benchmarks.suite.command import BenchmarkParser, guarded
from benchmarks.suite.execute import execute
from benchmarks.suite.job import Job
from benchmarks.suite.record import Record, Row
from benchmarks.suite.runner import provenance
from benchmarks.suite.stages import EACH, ONE_SET
from benchmarks.suite.standings import PAIR, Submission, submissions
from benchmarks.suite.store import STORE, SUITE_RESULTS, Store, read_rows
from qsm_recon.errors import DataError
from qsm_recon.io import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

SHOWN_CASE = "SIM2"
DOTS_PER_INCH = 110
DEFAULT = "default"
"""What methods without a weight are asked for."""
SAME_NRMSE = 0.1
"""Points; a map that was solved again is said to differ from its row beyond them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw what can be drawn."""
    parser = BenchmarkParser(prog="python -m benchmarks.figures", description=__doc__)
    parser.add_argument("--size", choices=("full", "reduced"), default="reduced", help="of the phantom")
    parser.add_argument("--store", type=Path, default=STORE, metavar="DIR", help="maps")
    parser.add_argument("--results", type=Path, default=SUITE_RESULTS, metavar="DIR", help="tables, and where to write")
    parser.add_argument("--solve", action="store_true", help="solve for maps that are not kept, at the rows' weights")
    parser.add_argument("--threads", type=int, default=1, help="of each solve (default 1)")
    options = parser.parse_args(arguments)
    threads = options.threads if options.solve else 0

    def draw() -> int:
        if not options.results.is_dir():
            raise DataError(f"{options.results}: no such folder; expected the tables of python -m benchmarks.rc2")
        return _Drawing(options.size, options.results, Store(options.store), threads).draw()

    return guarded(draw)


class _Drawing:
    """All figures of one size of the phantom; ``threads`` solve for maps that are not kept, unless that is 0."""

    def __init__(self, size: str, results: Path, store: Store, threads: int) -> None:
        self._size, self._results, self._store, self._threads = size, results, store, threads
        rows = {stage: _paired(read_rows(table_name(stage, size), results)) for stage in (1, 2)}
        self._first = submissions(rows[1], ONE_SET, "SNR1")
        self._second = {snr: submissions(rows[2], EACH, snr) for snr in ("SNR1", "SNR2")}
        self._rules = _rules(rows[1])

    def draw(self) -> int:
        """Draw; the exit code."""
        first, (low, high) = self._first, self._second.values()
        data = f"SIM1 and SIM2, {self._size} phantom"
        blind = f"Stage 1, SNR 100, {data}: weights by {self._rules}, one for both"
        told = f"Stage 2, SNR 100, {data}: weights by the truth"
        for name, found, title in (("stage1", first, blind), ("stage2", low, told)):
            if not plots.scored(found):
                print(f"{name}: nothing is stored for the {self._size} phantom; run python -m benchmarks.rc2 first")
                continue
            self._top_five(f"{name}_{self._size}_top_five", found, title)
            self._save(f"{name}_{self._size}_spider", plots.spider(found, title))
            self._save(f"{name}_{self._size}_metric_correlation", plots.metric_correlation(found, title))
            self._save(f"{name}_{self._size}_scatter_matrix", plots.scatter_matrix(found, title))
        if plots.scored(first) and plots.scored(low):
            title = f"{data}, SNR 100: weights by {self._rules} and by the truth"
            self._save(f"stages_{self._size}", plots.stages(first, low, title))
        if plots.scored(low) and plots.scored(high):
            title = f"Stage 2, {data}: weights by the truth"
            self._save(f"stage2_{self._size}_snr", plots.bland_altman(low, high, ("SNR 100", "SNR 1000"), title))
        return 0

    def _top_five(self, name: str, found: Sequence[Submission], title: str) -> None:
        shown = plots.leaders(found)
        maps = {id(one): self._map(one.records[SHOWN_CASE]) for one in shown}
        kept = [one for one in shown if maps[id(one)] is not None]
        if len(kept) < len(shown):
            print(f"{name}: {len(shown) - len(kept)} of {len(shown)} maps are not there; --solve makes them again")
            return  # a whole picture of before is not replaced by part of one
        case = load(kept[0].records[SHOWN_CASE].job["case"])
        assert case.truth is not None
        images = [image for one in kept if (image := maps[id(one)]) is not None]
        heading = f"{title}\nthe leaders, maps of {SHOWN_CASE}, scores of both"
        truth = case.truth.susceptibility_ppm
        self._save(name, plots.top_five(kept, images, truth, case.evaluation_mask, heading))

    def _map(self, record: Record) -> NDArray | None:
        """The map of a row: kept, or solved for by the present program, now or before, at the weight of the row."""
        kept = self._store.load_map(record.key)
        if kept is not None:
            return kept
        job = Job.again(record.job, record.weight)
        known = self._store.find(job.key())
        if known is None or not self._store.map_path(known.key).is_file():
            if not self._threads:
                return None
            print(f"solving again: {job}", flush=True)
            known = execute(job, self._store, threads=self._threads, keep_map=True, provenance=provenance())
        if known.failed:
            print(f"{job}: {known.failed}")
            return None
        was, now = record.metrics.get("nrmse"), known.metrics.get("nrmse")
        if was is not None and now is not None and abs(now - was) > SAME_NRMSE:
            print(f"{job}: NRMSE {now:.2f}, {was:.2f} in the table, whose row is of another build")
        return self._store.load_map(known.key)

    def _save(self, name: str, figure: Figure) -> None:
        path = self._results / f"{name}.png"
        atomic_write(path, lambda temporary: figure.savefig(temporary, dpi=DOTS_PER_INCH, metadata={"Software": None}))
        print(f"{path.name}")


def _rules(rows: Sequence[Row]) -> str:
    """What chose the weights of stage 1, for a title."""
    asked = {str(row.record.job["weight"]) for row in rows if row.tags["choice"] == EACH}
    return " or ".join(sorted(asked - {DEFAULT})) or "no truth"


def _paired(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.tags["data"] in PAIR]


if __name__ == "__main__":
    sys.exit(main())
