"""The shape of a study: a question, the jobs that answer it, and its table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.suite.record import Row
from benchmarks.suite.runner import Plan, Planned
from benchmarks.suite.table import method_label, number
from qsm_recon.errors import ParameterError


@dataclass(frozen=True)
class StudyOptions:
    """What a user may choose.

    Parameters
    ----------
    size
        Of the phantom.
    data
        Another data set, or one that the study needs.
    only
        Methods; None for all.
    """

    size: str = "reduced"
    data: str | None = None
    only: tuple[str, ...] | None = None

    def phantom(self, text: str) -> str:
        """The data set given, else the phantom."""
        return self.data or f"phantom:{text}{'&' if '?' in text else '?'}size={self.size}"

    def required(self, kind: str) -> str:
        """The data set given.

        Raises
        ------
        ParameterError
            If there is none.
        """
        if self.data is None:
            raise ParameterError(f"this study needs data: give --data {kind}")
        return self.data


@dataclass(frozen=True)
class Study:
    """A study of the suite.

    Parameters
    ----------
    name
        For the command line and the file of results.
    description
        One line.
    plan
        Its jobs.
    table
        Prints its rows.
    """

    name: str
    description: str
    plan: Callable[[StudyOptions], Plan]
    table: Callable[[Sequence[Row]], str]


def at_once(planned: Sequence[Planned], only: tuple[str, ...] | None = None) -> Plan:
    """Plan of jobs that do not depend on each other."""
    kept = [one for one in planned if only is None or one.job.solver in only]
    return lambda _known: kept


def label_of(row: Row) -> str:
    """Name of a row's method."""
    return method_label(row.record.job["solver"], row.record.job["parameters"])


def parameters_of(row: Row, without: Sequence[str] = ()) -> str:
    """Parameters of a row that differ from the defaults."""
    given: Mapping[str, object] = row.record.job["parameters"]
    return ", ".join(f"{name} {value}" for name, value in given.items() if name not in without) or "defaults"


def answered(rows: Sequence[Row]) -> list[Row]:
    """Rows that have a result."""
    return [row for row in rows if not row.record.failed]


def extra(row: Row, name: str, digits: int = 1) -> str:
    """A further number of a row."""
    return number(row.record.extras.get(name), digits)
