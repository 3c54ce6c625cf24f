"""Run what a plan asks for: from the store where it is known, else on the workers; nothing done is lost."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.suite.cases import CASES_KEPT, voxels
from benchmarks.suite.execute import execute
from benchmarks.suite.job import Job, sources_version
from benchmarks.suite.record import Record, Row
from benchmarks.suite.schedule import Here, Workers, open_workers, worker_count
from benchmarks.suite.store import STORE, SUITE_RESULTS, Store, merge_rows
from benchmarks.timing import machine
from qsm_recon.backend.memory import GIB, available_bytes
from qsm_recon.errors import QSMError
from qsm_recon.report.document import software_versions
from qsm_recon.version import __version__

CASE_VOLUMES = 45
"""Volumes (float32) that the data set, its estimation and the metrics take beside the solver's."""
KEPT_VOLUMES = 16
"""Those of every other data set that stays in memory."""
OVERHEAD_GIB = 0.6
PADDED = 1.5
RUN_OPTIONS = ("--workers", "--threads", "--scheduler", "--store", "--results")


@dataclass(frozen=True)
class Planned:
    """A job, and where its row stands in a table."""

    job: Job
    tags: Mapping[str, str]
    keep_map: bool = False


Known = Callable[[Job], Record | None]
Plan = Callable[[Known], Sequence[Planned]]
"""Jobs in order of importance, given what is known of other jobs; asked again after each one."""


@dataclass(frozen=True)
class RunSettings:
    """How a plan is run.

    Parameters
    ----------
    workers
        Processes; None for as many as cores and memory allow, 0 for this process.
    threads
        Of each job.
    scheduler
        Address of a Dask scheduler that runs already.
    store
        Folder of records and maps.
    results
        Folder of tables.
    quiet
        Print no progress.
    """

    workers: int | None = None
    threads: int = 1
    scheduler: str | None = None
    store: Path = STORE
    results: Path = SUITE_RESULTS
    quiet: bool = False


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Options that every benchmark of the suite has."""
    group = parser.add_argument_group("running")
    group.add_argument("--workers", type=int, help="processes, one job each; by default as cores and memory allow")
    group.add_argument("--threads", type=int, default=1, help="of each job (default 1)")
    group.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask scheduler that runs already")
    group.add_argument("--store", type=Path, default=STORE, metavar="DIR", help="records and maps of jobs")
    group.add_argument("--results", type=Path, default=SUITE_RESULTS, metavar="DIR", help="tables")
    group.add_argument("--show", action="store_true", help="compute nothing, print what is stored")
    group.add_argument("--quiet", action="store_true", help="print no progress")


def run_settings(options: argparse.Namespace) -> RunSettings:
    """Settings from the options."""
    return RunSettings(
        options.workers, options.threads, options.scheduler, options.store, options.results, options.quiet
    )


def run_plan(name: str, plan: Plan, settings: RunSettings, order: Any = None) -> list[Row]:
    """Run a plan and keep its rows in a table.

    Parameters
    ----------
    name
        Of the table.
    plan
        What to run.
    settings
        How.
    order
        Key that the table is sorted by.

    Returns
    -------
    list of Row
        All of the table, in which rows of earlier runs stay.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C; what is done is stored, and the same command goes on from there.
    """
    run = _Run(plan, settings)
    try:
        run.until_done(lambda rows: merge_rows(name, rows, settings.results, order))
    finally:
        run.close()
    return merge_rows(name, run.rows(), settings.results, order)


class _Run:
    """One run of a plan."""

    def __init__(self, plan: Plan, settings: RunSettings) -> None:
        self._plan, self._settings = plan, settings
        self._store = Store(settings.store)
        self._known: dict[Job, Record] = {}
        self._keys: dict[Job, str] = {}
        self._running: dict[str, Job] = {}
        self._pool: Here | Workers | None = None
        self._provenance = provenance()
        self._computed = 0

    def until_done(self, save: Callable[[list[Row]], Any]) -> None:
        """Run until the plan asks for nothing new."""
        while True:
            self._submit()
            if not self._running:
                return
            assert self._pool is not None
            key, outcome = self._pool.next()
            job = self._running.pop(key)
            if isinstance(outcome, BaseException):
                outcome = self._lost(job, outcome)
            self._known[job] = outcome
            self._computed += 1
            self._say(f"{job}: {outcome.headline()}")
            save(self.rows())

    def rows(self) -> list[Row]:
        """Rows of what is known, in the order of the plan."""
        planned = self._plan(self._known.get)
        return [Row(dict(p.tags), self._known[p.job]) for p in planned if p.job in self._known]

    def close(self) -> None:
        """End the workers."""
        if self._pool is not None:
            self._pool.close()

    def _submit(self) -> None:
        """Take in what the plan asks for now; what the store knows answers at once and may make it ask for more."""
        while True:
            planned = self._plan(self._known.get)
            fresh = [p for p in planned if p.job not in self._known and self._key(p.job) not in self._running]
            found = {p.job: record for p in fresh if (record := self._stored(p)) is not None}
            if not found:
                break
            self._known.update(found)
        place = {p.job: index for index, p in reversed(list(enumerate(planned)))}
        for p in fresh:
            if self._key(p.job) in self._running:  # the plan has it twice
                continue
            pool = self._workers(planned)
            key = self._key(p.job)
            self._running[key] = p.job
            arguments = (p.job, self._settings.store, self._settings.threads, p.keep_map, self._provenance)
            pool.submit(key, run_job, *arguments, priority=-float(place[p.job]))

    def _stored(self, planned: Planned) -> Record | None:
        key = self._key(planned.job)
        record = self._store.find(key)
        if record is not None and planned.keep_map and self._store.load_map(key) is None:
            return None
        return record

    def _key(self, job: Job) -> str:
        if job not in self._keys:
            self._keys[job] = job.key()
        return self._keys[job]

    def _workers(self, planned: Sequence[Planned]) -> Here | Workers:
        if self._pool is None:
            needed = max(memory_gib(p.job) for p in planned)
            settings = self._settings
            count = worker_count(settings.workers, settings.threads, needed, available_bytes() / GIB)
            where = "in this process" if count == 0 else f"{count} workers"
            where = where if settings.scheduler is None else f"on the scheduler {settings.scheduler}"
            self._say(f"{where}, {settings.threads} threads each, largest job about {needed:.1f} GiB", counted=False)
            limit = None if count == 0 else max(needed, available_bytes() / GIB / count)
            self._pool = open_workers(count, limit, settings.scheduler)
        return self._pool

    def _lost(self, job: Job, error: BaseException) -> Record:
        """The record of a job whose worker died, or that raised what no job should."""
        if isinstance(error, KeyboardInterrupt):
            raise error
        died = type(error).__name__ == "KilledWorker"
        reason = "its worker died, most likely for want of memory" if died else f"{type(error).__name__}: {error}"
        record = Record(self._key(job), job.description(), failed=reason, provenance=dict(self._provenance))
        self._store.add(record)
        return record

    def _say(self, text: str, *, counted: bool = True) -> None:
        if not self._settings.quiet:
            place = f"[{len(self._known)}, {len(self._running)} to go] " if counted else ""
            print(f"{datetime.now():%H:%M:%S} {place}{text}", flush=True)


def run_job(job: Job, store: Path, threads: int, keep_map: bool, facts: Mapping[str, Any]) -> Record:
    """Run a job on a worker."""
    return execute(job, Store(store), threads=threads, keep_map=keep_map, provenance=facts)


def memory_gib(job: Job) -> float:
    """Estimate of the memory that a job's process takes; nothing where it cannot even be set up."""
    try:
        volumes = CASE_VOLUMES + KEPT_VOLUMES * (CASES_KEPT - 1) + PADDED * job.make_solver().memory_volumes()
        return OVERHEAD_GIB + volumes * 4 * voxels(job.case) / GIB
    except QSMError:
        return OVERHEAD_GIB


def provenance(shown: Sequence[str] = ()) -> dict[str, Any]:
    """Facts about program, machine and time that every record has; see :func:`command_line`."""
    facts = machine()
    return {
        "version": __version__,
        "commit": commit(),
        "sources": sources_version(),
        "software": software_versions(),
        "machine": f"{facts['processor']}, {facts['cores']} cores",
        "date": datetime.now(timezone.utc).date().isoformat(),
        "command": command_line(shown),
    }


def commit() -> str:
    """Commit of the repository, with a plus where files have been changed since; empty where there is none."""
    root = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        short = git("rev-parse", "--short", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "qsm_recon", "benchmarks/*.py")
    except OSError:
        return ""
    return short + ("+" if changed else "")


def command_line(shown: Sequence[str] = ()) -> str:
    """The command as it was given, without the folders of this machine and how it was run there.

    Parameters
    ----------
    shown
        Options of how it was run that are part of what was asked.
    """
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = f"-m {spec.name}" if spec is not None else Path(sys.argv[0]).name
    hidden = tuple(option for option in RUN_OPTIONS if option not in shown)
    parts = iter(sys.argv[1:])
    kept = []
    for part in parts:
        if part in hidden:
            next(parts, None)
        elif not part.startswith(tuple(f"{option}=" for option in hidden)):
            kept.append(shlex.quote(_without_folder(part)))
    return " ".join(["python", name.removesuffix(".__main__"), *kept])


def _without_folder(argument: str) -> str:
    kind, colon, rest = argument.rpartition(":")
    location, mark, options = rest.partition("?")
    return f"{kind}{colon}{Path(location).name}{mark}{options}" if "/" in location else argument
