"""The learned methods beside what they start from: ``python -m benchmarks.learned phantom:sim1 phantom:sim2 rc1:DIR``.

Data sets are those of the suite (:func:`benchmarks.suite.cases.load`), heads in ``*.npz`` among them.  Every method
has its default parameters.  Printed: errors where the data set says to compare, seconds of processor time, how it
ended, and what was said of the domain.  Needs the extra ``qsm_recon[torch]``.
"""

from __future__ import annotations

import time

from benchmarks.suite.cases import load
from benchmarks.suite.command import BenchmarkParser, guarded
from benchmarks.suite.execute import score
from qsm_recon.backend.threads import set_thread_count
from qsm_recon.datasets.case import Case
from qsm_recon.solvers.registry import make_solver

METHODS = ("tkd", "tv", "qsminvnet", "fine")
COLUMNS = ("nrmse", "dnrmse", "xsim")


def row(name: str, case: Case) -> str:
    """A line of the table."""
    began = time.process_time()
    result = make_solver(name).solve(case.problem)
    seconds = time.process_time() - began
    values = score(case, result).values
    cells = [f"{values[column]:.4g}" if column in values else "–" for column in COLUMNS]
    return " | ".join([f"| {case.name} | `{name}`", *cells, f"{seconds:.0f}", f"{result.stop_reason} |"])


def main() -> int:
    """Print the table."""
    parser = BenchmarkParser(description=__doc__)
    parser.add_argument("data", nargs="+", help="data sets")
    parser.add_argument("--algo", nargs="+", default=METHODS, metavar="NAME", help="methods (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    set_thread_count(options.threads)
    print(f"| data | method | {' | '.join(COLUMNS)} | processor s | ended |\n|{'---|' * (len(COLUMNS) + 4)}")
    for specification in options.data:
        case = load(specification)
        for name in options.algo:
            print(row(name, case), flush=True)
        for remark in make_solver("qsminvnet").remarks(case.problem):
            print(f"{case.name}: {remark}")
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main, interrupted="interrupted"))
