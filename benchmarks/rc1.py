"""Error against COSMOS on the 2016 challenge's data, best over the weight: ``python -m benchmarks.rc1 DIR``.

Prints, for every solver, the best weight, NRMSE (%) after demeaning in the mask, XSIM, iterations and seconds, beside
the best published entry of the same method on these data (community leaderboard).  The reference is not exact.
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.best_weight import best_over_weight, score
from benchmarks.timing import save_rows
from qsm_recon import load_case, make_solver
from qsm_recon.errors import ParameterError

# Solver, parameters, where the search starts, and the published NRMSE and XSIM.
ROWS: tuple[tuple[str, dict[str, Any], float, str], ...] = (
    ("tkd", {}, 0.4, ""),
    ("tsvd", {}, 0.2, ""),
    ("tikhonov", {"regulariser": "identity"}, 0.04, ""),
    ("tikhonov", {"regulariser": "gradient"}, 0.1, ""),
    ("tv", {"weighting": "uniform"}, 1e-3, "TV 71.4/0.471"),
    ("tv", {"weighting": "magnitude"}, 1e-3, "TV 71.4/0.471"),
    ("fansi", {"weighting": "uniform"}, 1e-3, "FANSI 73.7/0.436"),
    ("fansi", {"weighting": "magnitude"}, 1e-3, "FANSI 73.7/0.436"),
    ("fansi-tgv", {"weighting": "uniform"}, 1e-3, "FANSI-TGV 70.9/0.447"),
    ("tgv", {"weighting": "uniform"}, 1e-3, ""),
    ("wl1", {"weighting": "uniform"}, 0.1, ""),
    ("l1qsm", {"weighting": "uniform"}, 0.1, "L1-QSM 73.7/0.449"),
    ("wl1l2", {"weighting": "uniform"}, 1e-3, "HD-QSM 73.7/0.423"),
    ("wh-qsm", {}, 1e-3, ""),
    ("wh-nlqsm", {}, 1e-3, "WH-QSM 82.7/0.442"),
    ("rts", {}, 1e-3, "RTS 71.7/0.474"),
    ("ndi", {}, 0.0, "NDI 133/0.241"),
    ("medi", {}, 1e-3, "MEDI 60.0/0.531"),
)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder of the 2016 challenge's data")
    parser.add_argument("--only", nargs="*", help="names of solvers")
    options = parser.parse_args()
    case = load_case(f"rc1:{options.folder}")
    path = None
    for name, parameters, start, published in ROWS:
        if options.only and name not in options.only:
            continue
        try:
            solver = make_solver(name, **parameters)
            solver = solver.with_regularisation(start) if start else solver
        except ParameterError as error:
            print(f"{name}: left out ({error})")
            continue
        found = best_over_weight(solver, case)
        if found.best is None:
            print(f"{name}: no finite error")
            continue
        xsim = score(case, found.best, similarity=True).values["xsim"]
        row = {
            "solver": name,
            "parameters": parameters,
            "main_parameter": solver.main_parameter().name,
            "best": found.best_value,
            "at_edge_of_search": found.at_edge,
            "nrmse": found.best_error,
            "xsim": xsim,
            "iterations": found.best.iterations,
            "seconds": found.best.timings_s["solve"],
            "published": published,
        }
        path = save_rows("rc1", [row], ("solver", "parameters"))
        print(
            f"{name:>10} {parameters!s:<28} {row['main_parameter']}={row['best']:.3g}  NRMSE {row['nrmse']:.2f}  "
            f"XSIM {row['xsim']:.3f}  {row['iterations']} iterations  {row['seconds']:.1f} s   {published}",
            flush=True,
        )
    if path is not None:
        print(f"written to {path}")


if __name__ == "__main__":
    main()
