"""What a slab costs: ``python -m benchmarks.slab [DIR]``, DIR with the 2016 challenge's data.

Slices are cut out of a volume and reconstructed alone: without padding, where the transform wraps round; with the
default padding; and in the whole image with everything outside the slices unknown, which is zeros all around.  NRMSE
(%) after demeaning, in the slices; ``whole`` is that of the whole volume's map there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.suite.command import BenchmarkParser, guarded
from benchmarks.timing import save_rows
from qsm_recon import load_case, make_solver
from qsm_recon.datasets.case import Case
from qsm_recon.metrics.rc2 import nrmse
from qsm_recon.problem import Problem
from qsm_recon.region import Region

SLABS = {"rc1": ((60, 100), (70, 90), (75, 85)), "phantom": ((30, 50), (35, 45), (45, 55))}
SOLVERS = ("tv", "medi", "tkd")
WIDE_MM = 32.0


def main() -> None:
    """Run and print."""
    parser = BenchmarkParser(description=__doc__)
    parser.add_argument("folder", nargs="?", help="folder of the 2016 challenge's data")
    parser.add_argument("--only", nargs="*", default=SOLVERS, help="names of solvers")
    options = parser.parse_args()
    specifications = ["phantom:sim1?size=reduced", "phantom:sim2?size=reduced"]
    if options.folder:
        specifications.insert(0, f"rc1:{options.folder}")  # first: a folder that is not there is said at once
    path = None
    for specification in specifications:
        case = load_case(specification)
        for name in options.only:
            whole = make_solver(name).solve(case.problem).susceptibility_ppm
            for first, last in SLABS[specification.partition(":")[0]]:
                row = {
                    "data": case.name,
                    "solver": name,
                    "slices": [first, last],
                    **errors(case, name, first, last, whole),
                }
                path = save_rows("slab", [row], ("data", "solver", "slices"))
                print(row, flush=True)
    if path is not None:
        print(f"written to {path}")


def errors(case: Case, name: str, first: int, last: int, whole: NDArray[np.floating]) -> dict[str, Any]:
    """NRMSE of each way to treat the slices from ``first`` to before ``last``."""
    problem, truth = replace(case.problem, echoes=None), case.truth
    if truth is None:
        raise ValueError(f"{case.name} has no truth")
    within = np.zeros_like(problem.mask)
    within[..., first:last] = problem.mask[..., first:last]
    nx, ny, _ = problem.mask.shape
    region = Region(problem.grid.shape, ((0, nx), (0, ny), (first, last)))
    slab: Problem = region.cut_problem(problem)
    wide = {} if name == "tkd" else {"margin": WIDE_MM}
    maps = {
        "wrapped": region.embed(make_solver(name, padding=0).solve(slab).susceptibility_ppm),
        "default": region.embed(make_solver(name).solve(slab).susceptibility_ppm),
        "zeros_around": make_solver(name, **wide).solve(replace(problem, mask=within)).susceptibility_ppm,
        "whole": whole,
    }
    return {key: round(nrmse(found, truth.susceptibility_ppm, within), 1) for key, found in maps.items()}


if __name__ == "__main__":
    raise SystemExit(guarded(main, interrupted="interrupted"))
