"""How long commands take that compute nothing: ``python -m benchmarks.startup``.

Each is run several times in a process of its own, and the shortest time counts: the others waited for the disk or for
other processes.  ``--importtime NAME`` shows instead which modules take longest (``python -X importtime``).
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

from benchmarks.suite.command import BenchmarkParser

COMMANDS = {
    "(python alone)": ["-c", "pass"],
    "import qsm_recon": ["-c", "import qsm_recon"],
    "qsm_recon": ["-m", "qsm_recon"],
    "run --list": ["-m", "qsm_recon", "run", "--list"],
    "run --help": ["-m", "qsm_recon", "run", "--help"],
    "run --algo medi --help": ["-m", "qsm_recon", "run", "--algo", "medi", "--help"],
    "lcurve --help": ["-m", "qsm_recon", "lcurve", "--help"],
    "evaluate --help": ["-m", "qsm_recon", "evaluate", "--help"],
    "phantom --help": ["-m", "qsm_recon", "phantom", "--help"],
    "cohort --help": ["-m", "qsm_recon", "cohort", "--help"],
    "doctor --help": ["-m", "qsm_recon", "doctor", "--help"],
}
SLOWEST = 15


def main() -> None:
    """Print the table."""
    parser = BenchmarkParser(description="Time commands that compute nothing.")
    parser.add_argument("--repeats", type=int, default=7, help="runs of each (default: %(default)s)")
    parser.add_argument("--importtime", choices=tuple(COMMANDS), help="show the slowest imports of one")
    options = parser.parse_args()
    if options.importtime:
        print(slowest_imports(COMMANDS[options.importtime]))
        return
    for name, words in COMMANDS.items():
        wall, processor = fastest(words, options.repeats)
        print(f"{name:<24}{wall:>7.2f} s{processor:>7.2f} s of processor time", flush=True)


def fastest(words: list[str], repeats: int) -> tuple[float, float]:
    """Shortest time and shortest processor time of a command, in s."""
    walls, processors = [], []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
        walls.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processors.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(walls), min(processors)


def slowest_imports(words: list[str]) -> str:
    """The imports of a command that take longest, with all that they import, in ms."""
    done = subprocess.run([sys.executable, "-X", "importtime", *words], capture_output=True, text=True, check=True)
    rows = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines() if "|" in line]
    known = [(int(whole), name.strip()) for _, whole, name in rows if whole.strip().isdigit()]
    return "\n".join(f"{whole / 1000:>8.1f} ms  {name}" for whole, name in sorted(known, reverse=True)[:SLOWEST])


if __name__ == "__main__":
    main()
