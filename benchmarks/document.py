"""Put the stored tables into the documentation: ``python -m benchmarks.document``.

``docs/benchmarks.md`` has a pair of marks for every table, ``<!-- table: NAME -->`` and ``<!-- end of table -->``; what
stands between them is replaced by what the suite prints from the stored results.  ``--check`` changes nothing and ends
with 1 where a table differs.  Nothing is computed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.peers.compare import TABLE as AGAINST
from benchmarks.peers.compare import against_table
from benchmarks.scaling import TABLE as SCALING
from benchmarks.scaling import scaling_table
from benchmarks.suite.ablation_report import ablation_table
from benchmarks.suite.challenge_table import stage_tables
from benchmarks.suite.command import BenchmarkParser, guarded
from benchmarks.suite.record import Row
from benchmarks.suite.store import SUITE_RESULTS, read_rows
from benchmarks.suite.studies import STUDIES
from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.io import atomic_write_text

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
BLOCK = re.compile(r"(<!-- table: (?P<name>[\w.-]+) -->\n)(?P<body>.*?)(<!-- end of table -->)", re.DOTALL)


def printed(name: str, folder: Path = SUITE_RESULTS) -> str:
    """What the suite prints of a table.

    Raises
    ------
    ParameterError
        If it is no table of the suite.
    """
    rows = read_rows(name, folder)
    printer = _printer(name)
    if not rows:
        return "Not made yet."
    return f"{printer(rows)}\n\n{made_by(rows)}".strip()


def made_by(rows: Sequence[Row]) -> str:
    """Commands, version, commit, machine and dates of rows, in one line."""
    facts = {
        name: sorted({str(row.record.provenance.get(name, "")) for row in rows} - {""})
        for name in ("command", "version", "commit", "machine", "date")
    }
    commands = "; ".join(f"`{command}`" for command in facts["command"])
    dates = facts["date"]
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    threads = ", ".join(str(count) for count in sorted({row.record.threads for row in rows}))
    return (
        f"Made by {commands}; version {', '.join(facts['version'])}, commit {', '.join(facts['commit'])}; "
        f"{'; '.join(facts['machine'])}, {threads} thread{'' if threads == '1' else 's'} a job; {when}."
    )


def filled(text: str, folder: Path = SUITE_RESULTS) -> str:
    """A page with its tables as they are stored now."""
    return BLOCK.sub(lambda found: f"{found[1]}{printed(found['name'], folder)}\n{found[4]}", text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill in the page, or compare it."""
    parser = BenchmarkParser(prog="python -m benchmarks.document", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args(arguments)
    return guarded(lambda: _run(check=options.check))


def _run(*, check: bool) -> int:
    text = PAGE.read_text("utf-8")
    fresh = filled(text)
    if check:
        print(f"{PAGE.name}: its tables {'are' if fresh == text else 'differ from'} the stored results")
        return int(fresh != text)
    atomic_write_text(PAGE, fresh)
    print(f"{PAGE.name}: {len(BLOCK.findall(fresh))} tables")
    return 0


def _printer(name: str) -> Callable[[list[Row]], str]:
    if name.startswith("rc2_stage"):
        return partial(stage_tables, stage=int(name.removeprefix("rc2_stage")[0]))
    if name.startswith("ablation_"):
        return ablation_tables
    known = {study.name: study.table for study in STUDIES.values()}
    known |= {AGAINST: against_table, SCALING: scaling_table}
    if name not in known:
        raise ParameterError(f"table '{name}' is unknown{did_you_mean(name, known)}")
    return known[name]


def ablation_tables(rows: Sequence[Row]) -> str:
    """All ablations of a factor that are stored."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row.tags[part] for part in ("base", "data", "weight by")), []).append(row)
    return "\n\n".join(ablation_table(members) for members in groups.values()) or "Nothing is stored."


if __name__ == "__main__":
    sys.exit(main())
