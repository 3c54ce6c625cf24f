"""Rows of both simulations combined as the challenge did, ranked, and set beside what was published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.suite.published import STAGES
from benchmarks.suite.record import Record, Row
from qsm_recon.metrics import Scores, combine_cases
from qsm_recon.metrics.ranking import rank

PAIR = ("SIM1", "SIM2")


@dataclass
class Submission:
    """A method on the data sets of a table.

    Parameters
    ----------
    method, kind, given, snr
        What it is and what it was given.
    records
        By data set.
    scores
        Combined; those of the only data set where it is one; without values where one is missing or failed.
    top_five, place
        Among the submissions it was ranked with.
    """

    method: str
    kind: str
    given: str
    snr: str
    records: dict[str, Record]
    scores: Scores
    top_five: int = 0
    place: int = 0

    @property
    def solver(self) -> str:
        """Name of the method."""
        return str(next(iter(self.records.values())).job["solver"])

    @property
    def failures(self) -> dict[str, str]:
        """Why there is no result, by data set."""
        return {name: record.failed for name, record in self.records.items() if record.failed}

    def nrmse(self) -> float:
        """Combined NRMSE (%), infinite where there is none."""
        value = self.scores.values.get("nrmse")
        return float("inf") if value is None else value


def submissions(rows: Sequence[Row], choice: str, snr: str = "") -> list[Submission]:
    """Combine rows, and rank those that have a result, the best first."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.tags["choice"] == choice and row.tags.get("snr", "") == (snr or row.tags.get("snr", "")):
            groups.setdefault((row.tags["method"], row.tags["input"]), []).append(row)
    found = []
    for (method, given), members in groups.items():
        records = {row.tags["data"]: row.record for row in members}
        found.append(Submission(method, members[0].tags["class"], given, snr, records, _combined(records)))
    scored = [one for one in found if np.isfinite(one.nrmse())]
    for standing in rank([one.scores for one in scored]):
        scored[standing.index].top_five, scored[standing.index].place = standing.top_five_appearances, standing.place
    return sorted(found, key=lambda one: (one.nrmse(), one.method, one.given))


def _combined(records: dict[str, Record]) -> Scores:
    if any(record.failed for record in records.values()):
        return Scores()
    if set(records) == set(PAIR):
        return combine_cases(records["SIM1"].scores, records["SIM2"].scores)
    if len(records) == 1 and not set(records) & set(PAIR):
        return next(iter(records.values())).scores
    return Scores()


def rank_correlation(found: Sequence[Submission], stage: int) -> tuple[float, list[str]] | None:
    """Spearman's rank correlation of NRMSE with the published order, and the methods in it.

    None below three methods, or where all have the same NRMSE.
    """
    from scipy.stats import spearmanr

    best: dict[str, float] = {}
    for one in found:
        best[one.solver] = min(one.nrmse(), best.get(one.solver, float("inf")))
    pairs = [
        (row.nrmse, best[row.solver], row.solver)
        for row in STAGES.get(stage, ())
        if np.isfinite(best.get(row.solver, np.inf))
    ]
    theirs, ours, names = zip(*pairs, strict=True) if pairs else ((), (), ())
    if len(pairs) < 3 or len(set(ours)) == 1:
        return None
    return float(spearmanr(theirs, ours).statistic), list(names)
