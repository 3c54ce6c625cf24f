"""What was done to break the package, and what came of it: ``python -m benchmarks.trust``.

The slow tests count what they try; ``--run`` runs them and keeps their counts in ``results/trust.json``.  The tables of
``docs/trust.md`` are made of that file and of ``results/memory.json`` (``python -m benchmarks.memory --save``);
``--check`` changes nothing and ends with 1 where they differ.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.suite.command import BenchmarkParser, guarded
from qsm_recon.errors import DataError
from qsm_recon.io import atomic_write_text, read_json

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "trust.md"
COUNTS = ROOT / "benchmarks" / "results" / "trust.json"
MEMORY = ROOT / "benchmarks" / "results" / "memory.json"
TESTS = (
    "tests/faults", "tests/geometry", "tests/solvers/test_ends_of_ranges.py", "tests/solvers/test_memory.py",
)  # fmt: skip
BLOCK = re.compile(r"(<!-- trust: (?P<name>\w+) -->\n)(?P<body>.*?)(<!-- end of table -->)", re.DOTALL)


def counts_table() -> str:
    """Kinds of inputs and faults, how many were tried, and what happened."""
    known: dict[str, Any] = read_json(COUNTS)
    lines = ["| what was tried | how many | what happened |", "|---|---|---|"]
    for kind, found in sorted(known.items()):
        happened = "; ".join(f"{number} {what}" for what, number in sorted(found["outcomes"].items()))
        lines.append(f"| {kind} | {found['tried']} | {happened} |")
    lines.append(f"| all | {sum(found['tried'] for found in known.values())} | |")
    return "\n".join(lines)


def memory_table() -> str:
    """Predicted and measured memory of every method, at two sizes."""
    rows = json.loads(MEMORY.read_text("utf-8"))["rows"]
    lines = [
        "| engine | method | image | computed on | predicted, MiB | measured, MiB | difference |",
        "|" + "---|" * 7,
    ]
    for row in rows:
        shapes = ["×".join(map(str, row[name])) for name in ("image", "computed_on")]
        lines.append(
            f"| {row['engine']} | `{row['method']}` | {shapes[0]} | {shapes[1]} | {row['predicted_mib']:.0f} | "
            f"{row['measured_mib']:.0f} | {row['difference_percent']:+.0f} % |"
        )
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {"counts": counts_table, "memory": memory_table}


def filled(text: str) -> str:
    """The page with its tables as they are stored now."""
    return BLOCK.sub(lambda found: f"{found[1]}{TABLES[found['name']]()}\n{found[4]}", text)


def run_tests() -> int:
    """Run the tests that count, and keep what they counted; returns pytest's exit code."""
    environment = {**os.environ, "QSM_RECON_COUNTS": str(COUNTS)}
    command = [sys.executable, "-m", "pytest", "-q", "-s", "--override-ini=addopts=--import-mode=importlib", *TESTS]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill in the page, compare it, or count anew first."""
    parser = BenchmarkParser(prog="python -m benchmarks.trust", description=__doc__)
    parser.add_argument("--run", action="store_true", help="run the tests that count first (half an hour)")
    parser.add_argument("--check", action="store_true", help="change nothing; 1 where the page differs")
    options = parser.parse_args(arguments)
    return guarded(lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    if options.run and run_tests():
        raise DataError("tests failed: their counts are not to be published")
    text = PAGE.read_text("utf-8")
    fresh = filled(text)
    if options.check:
        print("as stored" if fresh == text else f"{PAGE}: differs from the stored counts")
        return int(fresh != text)
    atomic_write_text(PAGE, fresh)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
