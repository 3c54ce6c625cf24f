"""What preconditioning brings to total field inversion: ``python -m benchmarks.preconditioner``.

Error of the brain map against conjugate gradient iterations on the embedded phantom with its background field, for
every preconditioner, the objective beside it: none at all, circulant (in k-space, as ``medi``), and χ = P y with P
binary, by R2* or adaptive.  JSON and a picture in ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import machine, save_results
from qsm_recon import make_solver
from qsm_recon.datasets.phantom import Phantom, PhantomParameters, build_phantom
from qsm_recon.datasets.phantom_case import phantom_case
from qsm_recon.problem import Problem

KINDS = ("none", "circulant", "binary", "r2star", "adaptive")
UNSCALED = ("none", "circulant")
STRONG = (5.0, 30.0)
BUDGETS = (60, 120, 240, 480)
INNER = 60


def error_percent(chi: NDArray, phantom: Phantom) -> float:
    """Error in percent, both maps demeaned over the evaluation mask."""
    found, truth = (v[phantom.evaluation_mask].astype(np.float64) for v in (chi, phantom.susceptibility_ppm))
    found, truth = found - found.mean(), truth - truth.mean()
    return float(100 * np.linalg.norm(found - truth) / np.linalg.norm(truth))


def sweep(problem: Problem, phantom: Phantom, kind: str, strong: float) -> dict[str, Any]:
    """Error and objective after rising numbers of inner iterations."""
    row: dict[str, Any] = {"preconditioner": kind, "strong": strong, "iterations": [], "error": [], "objective": []}
    for budget in BUDGETS:
        result = make_solver(
            "tfi", background="present", preconditioner=kind, strong=strong, update_tolerance=0.0,
            cg_iterations=INNER, cg_tolerance=0.0, max_iterations=budget // INNER,
        ).solve(problem)  # fmt: skip
        row["iterations"].append(sum(result.history["cg_iterations"]))
        row["error"].append(error_percent(result.susceptibility_ppm, phantom))
        row["objective"].append(result.history["objective"][-1])
    errors = "  ".join(f"{n:.0f}: {e:.1f}" for n, e in zip(row["iterations"], row["error"], strict=True))
    print(f"{kind:>9} P={strong:<4g} {errors}", flush=True)
    return row


def draw(rows: list[dict[str, Any]], local: float, path: Path) -> None:
    """Plot error against iterations."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FormatStrFormatter, NullFormatter

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), constrained_layout=True)
    for row in rows:
        label = row["preconditioner"] + ("" if row["preconditioner"] in UNSCALED else f", P = {row['strong']:g}")
        for axis, values in zip(axes, (row["error"], row["objective"]), strict=True):
            axis.loglog(row["iterations"], values, marker=".", label=label)
    axes[0].axhline(local, color="k", linestyle=":", label="medi on the local field")
    axes[0].set_ylabel("error of the brain map (%)")
    axes[0].set_yticks((30, 50, 100, 200, 400))
    axes[1].set_ylabel("objective (ppm²)")
    axes[1].set_yticks((0.3, 0.5, 1, 2))
    for axis in axes:
        axis.set_xlabel("conjugate gradient iterations")
        axis.set_xticks(BUDGETS)
        for numbered in (axis.xaxis, axis.yaxis):
            numbered.set_major_formatter(FormatStrFormatter("%g"))
            numbered.set_minor_formatter(NullFormatter())
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize="small")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("reduced", "full"), default="reduced")
    options = parser.parse_args()
    phantom = build_phantom(PhantomParameters(size=options.size, background=True))
    problem = phantom_case(phantom).problem
    plain = build_phantom(PhantomParameters(size=options.size))
    local = error_percent(make_solver("medi").solve(phantom_case(plain).problem).susceptibility_ppm, plain)
    print(f"medi on the local field: {local:.1f}")
    rows = [
        sweep(problem, phantom, kind, strong) for kind in KINDS for strong in ((1.0,) if kind in UNSCALED else STRONG)
    ]
    path = save_results(
        "preconditioner", {"machine": machine(), "size": options.size, "medi_local": local, "rows": rows}
    )
    draw(rows, local, path.with_suffix(".png"))
    print(f"written to {path} and {path.with_suffix('.png')}")


if __name__ == "__main__":
    main()
