"""How much slower methods are without numba and pyFFTW: ``python -m benchmarks.without_libraries``.

Each combination of missing libraries is a process of its own, with one thread, on a ball with two inclusions; a
method is run once to warm up, and the shorter processor time of two further runs counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from benchmarks.suite.command import BenchmarkParser

METHODS = ("tkd", "tv", "fansi", "tgv", "wl1", "medi", "ndi")
MISSING = ((), ("pyfftw",), ("numba",), ("numba", "pyfftw"))
CODE = """
import json, sys, time
for name in {missing!r}:
    sys.modules[name] = None
import numpy as np
from qsm_recon import DipoleOperator, Grid, Problem, make_solver
shape = (48, 48, 48)
x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
mask = x**2 + y**2 + z**2 < 0.8
chi = 0.1 * ((x - 0.3) ** 2 + y**2 + z**2 < 0.05) - 0.05 * ((x + 0.4) ** 2 + y**2 + z**2 < 0.03)
grid = Grid(shape)
field = DipoleOperator(grid).forward(chi.astype(np.float32)) + 0.002 * np.random.default_rng(0).standard_normal(shape)
problem = Problem(field.astype(np.float32), mask, grid, magnitude=mask.astype(np.float32) + 0.01, b0_tesla=3.0,
                  echo_times_s=(0.02,), field_kind="local")
found = {{}}
for name in {methods!r}:
    solver = make_solver(name)
    seconds = []
    for _ in range(3):
        began = time.process_time()
        solver.solve(problem)
        seconds.append(time.process_time() - began)
    found[name] = min(seconds[1:])
print(json.dumps(found))
"""


def main() -> None:
    """Print the table."""
    parser = BenchmarkParser(prog="python -m benchmarks.without_libraries", description=__doc__)
    parser.parse_args()
    print(f"{'missing':<16}" + "".join(f"{name:>9}" for name in METHODS) + "   s, and times as long as with all")
    first: dict[str, float] = {}
    for missing in MISSING:
        code = CODE.format(missing=missing, methods=METHODS)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        words = ["-c", "from qsm_recon.backend.threads import set_thread_count\nset_thread_count(1)\n" + code]
        done = subprocess.run(
            [sys.executable, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        )
        found = json.loads(done.stdout)
        first = first or found
        print(f"{' and '.join(missing) or 'nothing':<16}" + "".join(f"{found[name]:>9.2f}" for name in METHODS))
        print(" " * 16 + "".join(f"{found[name] / first[name]:>8.1f}×" for name in METHODS), flush=True)


if __name__ == "__main__":
    main()
