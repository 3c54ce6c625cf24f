"""MEDI on the 2016 challenge's data: ``python -m benchmarks.morphology_rc1 FOLDER``.

Error against COSMOS, both demeaned in the mask, over data weights, edge fractions and regularisation weights; JSON in
``benchmarks/results``.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from benchmarks.timing import machine, save_results
from qsm_recon import make_solver
from qsm_recon.datasets.registry import load_case
from qsm_recon.metrics.similarity import xsim

# Weighting and edge fraction; magnitudes are worse throughout, and are there once to show it.
CHOICES = (("uniform", 0.0), ("uniform", 0.05), ("uniform", 0.1), ("uniform", 0.3), ("magnitude", 0.05))
ALPHAS = (3.5e-4, 5e-4, 7e-4, 1e-3, 1.4e-3)


def format_row(row: dict[str, Any]) -> str:
    """One line of the printed table."""
    return "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder with the challenge's data")
    case = load_case(f"rc1:{parser.parse_args().folder}")
    if case.truth is None:
        parser.error("the folder holds no reference map")
    mask, reference = case.problem.mask, np.asarray(case.truth.susceptibility_ppm, np.float64)
    truth = reference[mask] - reference[mask].mean()
    rows: list[dict[str, Any]] = []
    for weighting, fraction in CHOICES:
        for alpha in ALPHAS:
            solver = make_solver("medi", weighting=weighting, edge_fraction=fraction, regularisation_weight=alpha)
            result = solver.solve(case.problem)
            found = result.susceptibility_ppm[mask].astype(np.float64)
            error = 100 * np.linalg.norm(found - found.mean() - truth) / np.linalg.norm(truth)
            row = {"weighting": weighting, "edge_fraction": fraction, "alpha": alpha, "error": float(error)}
            row |= {
                "xsim": float(xsim(result.susceptibility_ppm, reference, mask)),
                "cg_iterations": sum(result.history["cg_iterations"]),
                "seconds": result.timings_s["solve"],
            }
            rows.append(row)
            print(format_row(row), flush=True)
    best = {"error": min(rows, key=lambda row: row["error"]), "xsim": max(rows, key=lambda row: row["xsim"])}
    for name, row in best.items():
        print(f"best {name}: {format_row(row)}")
    print(f"written to {save_results('morphology_rc1', {'machine': machine(), 'best': best, 'rows': rows})}")


if __name__ == "__main__":
    main()
