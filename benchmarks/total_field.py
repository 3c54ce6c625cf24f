"""What the background in the field costs: ``python -m benchmarks.total_field``.

The embedded phantom without and with the field of the air around it: ``medi`` on the local field; ``medi`` on the
fitted total field less the true background (what a perfect removal would leave, which holds the errors of the fit in
a steep field) and less its projection onto outside sources; ``tfi`` and ``mctfi`` on the total field, and ``tfi`` on
the local field with sources outside allowed.  Errors in the evaluation mask, and there deeper than 4, 8 and 12 mm.
JSON in ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from benchmarks.timing import machine, save_results
from qsm_recon import Problem, make_solver
from qsm_recon.background.outside_sources import project_onto_outside
from qsm_recon.datasets.phantom import Phantom, PhantomParameters, build_phantom
from qsm_recon.datasets.phantom_case import phantom_case
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.terms.weights import data_weight

DEPTHS_MM = (0.0, 4.0, 8.0, 12.0)
PADDING = 16
PROJECTION_ITERATIONS = 100
SAME = {"weighting": "noise"}


def errors_percent(chi: NDArray, phantom: Phantom) -> list[float]:
    """Error in the evaluation mask below each depth, both maps demeaned there."""
    depth = distance_transform_edt(np.pad(phantom.mask, 1), sampling=phantom.voxel_size_mm)[1:-1, 1:-1, 1:-1]
    found = []
    for least in DEPTHS_MM:
        where = phantom.evaluation_mask & (depth > least)
        a, b = (values[where].astype(np.float64) for values in (chi, phantom.susceptibility_ppm))
        a, b = a - a.mean(), b - b.mean()
        found.append(float(100 * np.linalg.norm(a - b) / np.linalg.norm(b)))
    return found


def projected(problem: Problem) -> NDArray:
    """The field less its projection onto outside sources."""
    operator = DipoleOperator(problem.grid, padding=PADDING)
    weight = data_weight(problem, "noise")[0].astype(np.float32)
    field = np.where(problem.mask, problem.field_ppm, 0).astype(np.float32)
    found = project_onto_outside(operator, field, weight, problem.mask, PROJECTION_ITERATIONS, tolerance=0.0)
    return field - found.background


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("reduced", "full"), default="reduced")
    size = parser.parse_args().size
    alone, phantom = (build_phantom(PhantomParameters(size=size, background=b)) for b in (False, True))
    local, total = phantom_case(alone).problem, phantom_case(phantom).problem
    inside = phantom.mask
    misfit = np.abs(total.field_ppm - phantom.background_field_ppm - phantom.field_ppm)[inside]
    print(
        f"error of the fitted total field: median {np.median(misfit):.4f}, 99.9 % {np.quantile(misfit, 0.999):.3f} ppm"
    )
    without = np.where(inside, total.field_ppm - phantom.background_field_ppm, 0)
    cases: tuple[tuple[str, str, Problem, dict[str, Any]], ...] = (
        ("local field", "medi", local, SAME),
        ("local field, sources outside allowed", "tfi", local, {**SAME, "background": "present"}),
        ("total field less the true background", "medi", dataclasses.replace(total, field_ppm=without), SAME),
        ("total field less its projection", "medi", dataclasses.replace(total, field_ppm=projected(total)), SAME),
        ("total field", "tfi", total, {}),
        ("total field, voxels that do not fit reweighted", "tfi", total, {"merit": True}),
        ("total field, echoes", "mctfi", total, {}),
    )
    print("errors (%) " + ", ".join(f"deeper than {depth:g} mm" for depth in DEPTHS_MM))
    rows = []
    for label, solver, problem, parameters in cases:
        result = make_solver(solver, **parameters).solve(problem)
        errors = errors_percent(result.susceptibility_ppm, phantom)
        row = {"data": label, "solver": solver, "parameters": parameters, "errors": errors, "depths_mm": DEPTHS_MM}
        rows.append({**row, "iterations": result.iterations, "converged": result.converged})
        print(f"{solver:>6} {label:<48}" + "".join(f"{e:>7.1f}" for e in errors), flush=True)
    name = "total_field" + ("" if size == "full" else "_reduced")
    print(f"written to {save_results(name, {'machine': machine(), 'size': size, 'rows': rows})}")


if __name__ == "__main__":
    main()
