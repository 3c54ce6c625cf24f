"""The schema of results: what is known of one job that was run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from qsm_recon.metrics import OFFICIAL_METRICS, Scores
from qsm_recon.metrics.scores import SIMILARITY_METRICS

METRICS = (*OFFICIAL_METRICS, *SIMILARITY_METRICS)
ASKED = ("solver", "case", "weight", "parameters", "magnitude", "prepare")
"""What every job is described by."""


@dataclass
class Record:
    """One job that was run.

    Parameters
    ----------
    key
        Checksum of job, data and program, see :meth:`benchmarks.suite.job.Job.key`.
    job
        The job as :meth:`benchmarks.suite.job.Job.description` gives it.
    failed
        Why there is no result; empty where there is one.
    weight_name, weight_unit, weight
        Main parameter, its unit, and the value the reconstruction was made with.
    choice
        How the weight came about: ``confidence`` and ``reason`` of a rule, or what a search with the truth ``tried``
        and whether it ended ``at_edge``; ``cpu_s`` and ``wall_s`` of that.
    metrics
        The eight official and seven further metrics by name; None where one could not be computed.
    not_computed
        Why not.
    iterations, converged, stop_reason
        Of the reconstruction, which starts from nothing.
    cpu_s, wall_s
        Seconds of it: processor time of all threads, and by the clock.
    peak_gib
        Memory of the process at most, above that before the reconstruction.
    threads
        It ran on.
    extras
        Further numbers by name.
    provenance
        Versions, commit, machine, date, command.
    """

    key: str
    job: dict[str, Any]
    failed: str = ""
    weight_name: str = ""
    weight_unit: str = ""
    weight: float | None = None
    choice: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float | None] = field(default_factory=dict)
    not_computed: dict[str, str] = field(default_factory=dict)
    iterations: int | None = None
    converged: bool | None = None
    stop_reason: str = ""
    cpu_s: float | None = None
    wall_s: float | None = None
    peak_gib: float | None = None
    threads: int = 1
    extras: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def scores(self) -> Scores:
        """Metrics, as what ranks and combines them takes them."""
        return Scores({name: self.metrics.get(name) for name in METRICS}, dict(self.not_computed))

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Record:
        """Restore a record; members of other kinds, such as tags of a row, are left out.

        Raises
        ------
        TypeError
            If it is none.
        """
        asked = stored.get("job") if isinstance(stored, Mapping) else None
        whole = isinstance(asked, Mapping) and isinstance(asked.get("parameters"), Mapping) and set(ASKED) <= set(asked)
        if not whole:
            raise TypeError(f"expected a record with a job of {', '.join(ASKED)}")
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in known})

    def headline(self) -> str:
        """What came out, in a few words."""
        if self.failed:
            return f"failed: {self.failed}"
        error = self.metrics.get("nrmse")
        found = "no truth" if error is None else f"NRMSE {error:.1f}"
        ended = "" if self.converged else ", not converged"
        return f"{found} at {self.weight:.3g}, {self.iterations} iterations{ended}, {self.cpu_s:.1f} s"


@dataclass
class Row:
    """One row of a table: a record, and what it is there for.

    Parameters
    ----------
    tags
        Where in a table it stands, by name of the column.
    record
        What was found.
    """

    tags: dict[str, str]
    record: Record

    def identity(self) -> tuple[Any, ...]:
        """What tells it from other rows, whatever program made it; a weight that was worked out is no part of it."""
        job = dict(self.record.job)
        job["weight"] = str(job["weight"]).partition(":")[0]
        return (tuple(sorted(self.tags.items())), repr(sorted(job.items(), key=lambda item: item[0])))

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"tags": self.tags, **self.record.as_dict()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Row:
        """Restore a row.

        Raises
        ------
        TypeError, KeyError, ValueError
            If it is none.
        """
        record = Record.from_dict(stored)
        return cls(dict(stored["tags"]), record)


def tidy_csv(rows: Iterable[Row]) -> str:
    """One line a row, one column a variable."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row.tags))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    plain = ("failed", "weight_name", "weight_unit", "weight", "iterations", "converged", "stop_reason", "cpu_s",
             "wall_s", "peak_gib", "threads", "key")  # fmt: skip
    origin = ("version", "commit", "machine", "date", "command")
    writer.writerow([*names, *(f"job_{name}" for name in ASKED), *plain, *METRICS, *origin])
    for row in rows:
        record = row.record
        parameters = " ".join(f"{name}={value}" for name, value in record.job["parameters"].items())
        asked = [parameters if name == "parameters" else record.job[name] for name in ASKED]
        found = [getattr(record, name) for name in plain]
        scores = [record.metrics.get(name) for name in METRICS]
        writer.writerow(
            [*(row.tags.get(name, "") for name in names), *asked, *found, *scores,
             *(record.provenance.get(name, "") for name in origin)]
        )  # fmt: skip
    return text.getvalue()
