"""Programs side by side: the same files, the same scorer, processor seconds, memory and error."""

from __future__ import annotations

import hashlib
import json
import re
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.peers.exchange import Exchange
from benchmarks.peers.peer import Given, Limits, Peer
from benchmarks.peers.qsmci import QsmCi
from benchmarks.peers.specification import described
from benchmarks.suite.cases import check, data_digest, load, name_of, portable
from benchmarks.suite.execute import score
from benchmarks.suite.record import METRICS, Record, Row
from benchmarks.suite.runner import provenance
from benchmarks.suite.store import SUITE_RESULTS, merge_rows, read_rows
from benchmarks.suite.table import SHORT, failures, markdown, metric, number, seconds
from qsm_recon.datasets.case import Case
from qsm_recon.errors import ParameterError, QSMError
from qsm_recon.result import Reconstruction

TABLE = "speed_against"
OWN = "own"
"""How a program's weight is found: it is its own affair."""
FOLDERS = re.compile(r"(?<![\w.])~?/(?:[^/\s'\"?&=]+/)+")
SHOWN = ("nrmse", "dnrmse", "xsim", "hfen")


def compare(
    peers: Sequence[Peer], specification: str, *, limits: Limits | None = None, rounds: int = 1,
    results: Path = SUITE_RESULTS, say: Callable[[str], Any] = print,
) -> list[Row]:  # fmt: skip
    """Run every program that is there on a case, score its map, and keep a row of each.

    Parameters
    ----------
    peers
        Programs.
    specification
        Of the case, see :func:`benchmarks.suite.cases.load`.
    limits
        Threads and seconds.
    rounds
        How often, programs taking turns; seconds and memory are medians.
    results
        Folder of the table.
    say
        Takes a line of progress.

    Returns
    -------
    list of Row
        All of the table; rows of other programs and cases stay as they were.

    Raises
    ------
    ParameterError, DataError
        If the case cannot be loaded, or two programs have one name and the same options.
    KeyboardInterrupt
        After Ctrl-C; a program's row is kept as soon as it has run once.
    """
    limits = limits or Limits()
    check(specification)
    _require_names(peers)
    there = []
    for peer in peers:
        reason = peer.missing()
        if reason:
            say(f"skipped: {peer.label}: {reason}")
        else:
            there.append(peer)
    if not there:
        return read_rows(TABLE, results)
    case = load(specification)
    facts = {**provenance(shown=("--threads",)), "digest": data_digest(specification)}
    facts["command"] = without_folders(str(facts["command"]))
    runs: dict[int, list[Given]] = {index: [] for index in range(len(there))}
    failed: set[int] = set()
    with tempfile.TemporaryDirectory(prefix="qsm_peers_") as folder:
        files = Exchange(case, Path(folder))
        for _ in range(rounds):
            for index, peer in enumerate(there):
                if index in failed:
                    continue
                record = _record(peer, specification, limits, facts)
                try:
                    runs[index].append(peer.run(files, limits))
                    _fill(record, case, runs[index])
                except QSMError as error:
                    failed.add(index)
                    record.failed = without_folders(" ".join(str(error).split()))
                say(f"{peer.label}: {_headline(record)}")
                merge_rows(TABLE, [Row(_tags(peer, specification, limits), record)], results)
    return read_rows(TABLE, results)


def _require_names(peers: Sequence[Peer]) -> None:
    """Refuse programs whose rows would replace each other."""
    seen = set()
    for peer in peers:
        name = (type(peer), peer.label, described(peer))
        if name in seen:
            raise ParameterError(f"two programs are called '{peer.label}'; name one of them, LABEL=KIND:...")
        seen.add(name)


def _record(peer: Peer, specification: str, limits: Limits, facts: dict[str, Any]) -> Record:
    job = {
        "solver": peer.label, "case": portable(specification), "weight": OWN, "parameters": dict(peer.options),
        "magnitude": True, "prepare": "", "measure": "",
    }  # fmt: skip
    asked = json.dumps([job, facts["digest"], limits.threads], sort_keys=True)
    key = hashlib.sha256(asked.encode()).hexdigest()[:24]
    kept = {name: value for name, value in facts.items() if name != "digest"}
    return Record(key, job, threads=limits.threads, provenance=kept)


def _fill(record: Record, case: Case, runs: Sequence[Given]) -> None:
    """Scores of the last map; what a program used is the median of its runs."""
    given = runs[-1]
    mask = case.problem.mask
    result = Reconstruction(given.susceptibility_ppm, mask, str(record.job["solver"]), {}, True, "")
    scores = score(case, result)
    record.metrics = {name: scores.values.get(name) for name in METRICS}
    record.not_computed = dict(scores.reasons) or {
        name: "the data set has no truth" for name in METRICS if not scores.values
    }
    record.cpu_s = statistics.median(one.usage.cpu_s for one in runs)
    record.wall_s = statistics.median(one.usage.wall_s for one in runs)
    record.peak_gib = statistics.median(one.usage.peak_gib for one in runs)
    record.extras = {
        "remark": given.remark,
        "sampled": given.usage.sampled,
        "runs": [asdict(one.usage) for one in runs],
    }


def _tags(peer: Peer, specification: str, limits: Limits) -> dict[str, str]:
    kind = type(peer).__name__.lower()
    runner = f", {peer.runner}" if isinstance(peer, QsmCi) else ""
    names = {"executable": "executable", "octave": "Octave", "qsmci": "QSM-CI", "ours": "this package"}
    return {
        "data": name_of(specification), "program": peer.label, "kind": names[kind] + runner,
        "options": described(peer), "threads": str(limits.threads),
    }  # fmt: skip


def against_table(rows: Sequence[Row]) -> str:
    """The table of every case, the smallest error first."""
    if not rows:
        return "Nothing is stored."
    parts = []
    for name in dict.fromkeys(row.tags["data"] for row in rows):
        shown = [row for row in rows if row.tags["data"] == name and not row.record.failed]
        shown.sort(key=lambda row: (row.record.metrics.get("nrmse") is None, row.record.metrics.get("nrmse") or 0.0))
        lines = [
            [row.tags["program"], row.tags["kind"], row.tags["options"],
             *(metric(metric_name, row.record.metrics.get(metric_name)) for metric_name in SHOWN),
             seconds(row.record.cpu_s), seconds(row.record.wall_s), number(row.record.peak_gib, 2), row.tags["threads"]]
            for row in shown
        ]  # fmt: skip
        head = [
            "program",
            "kind",
            "options",
            *(SHORT[metric_name] for metric_name in SHOWN),
            "CPU s",
            "s",
            "GiB",
            "threads",
        ]
        remarks = [
            f"{row.tags['program']}: {row.record.extras['remark']}." for row in shown if row.record.extras["remark"]
        ]
        if lines:
            parts.append("\n\n".join([f"**{name}**", markdown(head, lines), *remarks]))
    return "\n\n".join(filter(None, [*parts, failures(rows)]))


def _headline(record: Record) -> str:
    if record.failed:
        return f"failed: {record.failed}"
    error = record.metrics.get("nrmse")
    found = "no truth" if error is None else f"NRMSE {metric('nrmse', error)}"
    return f"{found}, {record.cpu_s:.1f} s CPU, {record.wall_s:.1f} s, {record.peak_gib:.2f} GiB"


def without_folders(text: str) -> str:
    """A command or message with the names of files, but not of this machine's folders."""
    return FOLDERS.sub("", text)
