"""The challenge's table on the phantom: ``python -m benchmarks.challenge``.

Every solver on full-size SIM1 and SIM2, with the weight that gives the smallest NRMSE (the truth is in hand: stage 2),
from the multi-echo fit and from the challenge's own frequency map; the eight official metrics, iterations and seconds,
beside the challenge's published figures.  The phantom resembles the challenge's in its published properties only, so
the figures are companions, not copies.
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.best_weight import best_over_weight, score
from benchmarks.timing import save_rows
from qsm_recon import load_case, make_solver
from qsm_recon.errors import ParameterError
from qsm_recon.metrics import OFFICIAL_METRICS, combine_cases

# Solver, parameters, start of the search, published NRMSE (stage 2 unless said).
ROWS: tuple[tuple[str, dict[str, Any], float, str], ...] = (
    ("tkd", {}, 0.15, ""),
    ("tikhonov", {"regulariser": "gradient"}, 0.008, ""),
    ("tv", {}, 1.5e-4, ""),
    ("fansi", {}, 1.5e-4, "FANSI 28.9"),
    ("tgv", {}, 1.5e-4, ""),
    ("fansi-tgv", {}, 1.5e-4, "TGV 36.5"),
    ("wl1", {}, 0.1, ""),
    ("l1qsm", {}, 0.1, "L1-QSM 30.3"),
    ("wl1l2", {}, 1.5e-4, "wL1L2 29.2"),
    ("wl1l2", {"regularisation_weighting": "r2star"}, 1.5e-4, "wL1L2 29.2"),
    ("wl1l2", {"regularisation_weighting": "magnitude"}, 1.5e-4, "wL1L2 29.2"),
    ("wh-qsm", {}, 1.5e-4, ""),
    ("wh-nlqsm", {}, 1.5e-4, "WH 31"),
    ("rts", {}, 1e-3, ""),
    ("ndi", {}, 0.0, ""),
    ("medi", {}, 3e-4, "stage 1: MEDI 40.5"),
    ("tfi", {}, 3e-4, "stage 1: TFI 39.8"),
    ("mctfi", {}, 3e-4, "stage 1: mcTFI 37.7"),
)
FOUNDATION = ("tkd", "tikhonov", "tv", "fansi")
SHORT = ("NRMSE", "dNRMSE", "tissue", "blood", "DGM", "slope", "streak", "moment")


def run_row(
    name: str, parameters: dict[str, Any], start: float, published: str, field: str, size: str, snr: float
) -> dict[str, Any] | None:
    """Search and score one solver on both simulations."""
    per_case, details = [], {}
    for simulation in ("sim1", "sim2"):
        case = load_case(f"phantom:{simulation}?size={size}&snr={snr:g}&field={field}")
        try:
            solver = make_solver(name, **parameters)
        except ParameterError as error:
            print(f"{name}: left out ({error})")
            return None
        solver = solver.with_regularisation(start) if start else solver
        found = best_over_weight(solver, case)
        if found.best is None:
            print(f"{name}: no finite error on {simulation}")
            return None
        scores = score(case, found.best)
        per_case.append(scores)
        details[simulation] = {
            "best": found.best_value,
            "at_edge_of_search": found.at_edge,
            "iterations": found.best.iterations,
            "converged": found.best.converged,
            "seconds": found.best.timings_s["solve"],
            "metrics": dict(scores.values),
            "tried": found.tried,
        }
    combined = combine_cases(*per_case)
    return {
        "solver": name,
        "parameters": parameters,
        "field": field,
        "snr": snr,
        "published": published,
        "combined": {metric: combined.values[metric] for metric in OFFICIAL_METRICS},
        **details,
    }


def format_row(row: dict[str, Any]) -> str:
    """One line of the table: both simulations combined as the challenge did, then each simulation's NRMSE."""
    cells = "".join(f"{value:>9.3f}" if value is not None else "        –" for value in row["combined"].values())
    each = "  ".join(
        f"{simulation}: {row[simulation]['metrics']['nrmse']:.1f} at {row[simulation]['best']:.2g}, "
        f"{row[simulation]['iterations']} it, {row[simulation]['seconds']:.0f} s"
        for simulation in ("sim1", "sim2")
    )
    kind = row["parameters"] or ""
    return f"{row['solver']:>10} {row['field']:<10}{cells}   {each}   {row['published']} {kind}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="names of solvers")
    parser.add_argument("--foundation", action="store_true", help="tkd, tikhonov, tv, fansi from both field maps")
    parser.add_argument("--size", default="full", choices=("full", "reduced"))
    parser.add_argument("--snr", type=float, default=100.0)
    options = parser.parse_args()
    chosen = FOUNDATION if options.foundation else options.only
    table = "challenge" + ("" if options.size == "full" else f"_{options.size}")
    path = None
    print(f"{'solver':>10} {'field':<10}" + "".join(f"{name:>9}" for name in SHORT))
    for field in ("fit", "difference") if options.foundation else ("fit",):
        for name, parameters, start, published in ROWS:
            if chosen and name not in chosen:
                continue
            row = run_row(name, parameters, start, published, field, options.size, options.snr)
            if row is not None:
                print(format_row(row), flush=True)
                path = save_rows(table, [row], ("solver", "parameters", "field", "snr"))
    print("challenge, stage 1, SNR 100 (SIM1 / SIM2): iLSQR 77.9 / 57.6, untuned MEDI 57.1 / 51.7")
    if path is not None:
        print(f"written to {path}")


if __name__ == "__main__":
    main()
