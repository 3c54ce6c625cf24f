"""What background removal leaves behind, and what it costs χ: ``python -m benchmarks.background``.

Heads of the embedded phantom (seeds that no default was decided on) with the field of the air around and inside them:
the field fitted to the echoes, less its background by every method.  Its error against the true local field holds the
noise of the measurement, which no removal takes out; against what a perfect removal would leave, the removal's error
alone.  Both relative to the true local field, in the mask that the result is valid in, and the second in that part of
it that is deeper than 2, 4 and 8 mm below the surface of the mask given.  With ``--chi``: ``medi`` on the local field
and on these fields, ``tfi`` and ``mctfi`` on the total field.  JSON in ``benchmarks/results``; prints Markdown.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from benchmarks.suite.command import BenchmarkParser, guarded
from benchmarks.suite.table import markdown
from benchmarks.timing import machine, save_results
from qsm_recon import Problem, make_solver
from qsm_recon.background.base import LocalField, without_background
from qsm_recon.background.registry import make_removal
from qsm_recon.datasets.phantom_case import phantom_case
from qsm_recon.phantom import Phantom, PhantomParameters, build_phantom

DEPTHS_MM = (0.0, 2.0, 4.0, 8.0)
HEADS: tuple[dict[str, Any], ...] = (
    {"case": "sim1", "seed": 21, "snr": 100.0},
    {"case": "sim2", "seed": 22, "snr": 50.0},
)
# Method, parameters that differ from the defaults, NRMSE of community boards on a comparable phantom (other head, other
# mask).
REMOVALS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("pdf", {}, "44.5"),
    ("pdf", {"inside": 0.0}, "44.5"),
    ("lbv", {}, "42.4"),
    ("vsharp", {}, "42.6"),
    ("vsharp", {"deconvolution": "truncated"}, "42.6"),
    ("resharp", {}, "tuned 20.7"),
    ("resharp", {"radius": 10.0}, "tuned 20.7"),
    ("resharp", {"radius": 15.0}, "tuned 20.7"),
    ("ismv", {}, "28.1"),
    ("ismv", {"radius": 8.0}, "28.1"),
    ("ismv", {"radius": 10.0}, "28.1"),
)
INVERTED = ("pdf", "lbv", "vsharp", "resharp", "ismv")
"""Methods with default parameters whose field ``medi`` inverts."""
SAME = {"weighting": "noise"}


def label(name: str, parameters: dict[str, Any]) -> str:
    """Name of a method with what differs from its defaults."""
    given = ", ".join(f"{key} {value}" for key, value in parameters.items())
    return f"`{name}`" + (f" ({given})" if given else "")


def depth_mm(phantom: Phantom) -> NDArray:
    """Distance from the surface of the mask."""
    return distance_transform_edt(np.pad(phantom.mask, 1), sampling=phantom.voxel_size_mm)[1:-1, 1:-1, 1:-1]


def error_percent(found: NDArray, truth: NDArray, where: NDArray[np.bool_]) -> float:
    """Error relative to the truth, both demeaned."""
    a, b = (values[where].astype(np.float64) for values in (found, truth))
    a, b = a - a.mean(), b - b.mean()
    return float(100 * np.linalg.norm(a - b) / np.linalg.norm(b))


def errors_by_depth(found: NDArray, truth: NDArray, where: NDArray[np.bool_], depth: NDArray) -> list[float]:
    """Errors deeper than each of the depths."""
    return [error_percent(found, truth, where & (depth > least)) for least in DEPTHS_MM]


def removal_alone(local: LocalField, phantom: Phantom, total: Problem) -> list[float]:
    """Errors of the background that was removed, relative to the true local field."""
    noise = np.where(phantom.mask, total.field_ppm - phantom.background_field_ppm - phantom.field_ppm, 0)
    return errors_by_depth(local.field_ppm - noise, phantom.field_ppm, local.mask & phantom.mask, depth_mm(phantom))


def removal_row(name: str, parameters: dict[str, Any], phantom: Phantom, total: Problem) -> tuple[dict, Problem]:
    """Remove the background and score the local field."""
    problem, local = without_background(total, make_removal(name, **parameters))
    row = {
        "errors": removal_alone(local, phantom, total),
        "error_with_noise": error_percent(local.field_ppm, phantom.field_ppm, local.mask & phantom.mask),
        "share_of_mask": float(local.mask.sum() / total.mask.sum()),
        "iterations": local.iterations,
        "converged": local.converged,
        "seconds": local.seconds,
    }
    return row, problem


def inversion_row(
    solver: str, parameters: dict[str, Any], problem: Problem, phantom: Phantom, common: NDArray[np.bool_]
) -> dict[str, Any]:
    """Invert a field, and score χ where it is evaluated and there is a result, and where all fields have one."""
    began = time.perf_counter()
    result = make_solver(solver, **parameters).solve(problem)
    truth, where = phantom.susceptibility_ppm, phantom.evaluation_mask & problem.mask
    return {
        "errors": errors_by_depth(result.susceptibility_ppm, truth, where, depth_mm(phantom)),
        "error_in_common": error_percent(result.susceptibility_ppm, truth, common),
        "converged": result.converged,
        "seconds": time.perf_counter() - began,
    }


def removals(head: dict[str, Any], size: str) -> dict[str, Any]:
    """Every removal on one head."""
    phantom = build_phantom(PhantomParameters(size=size, background=True, **head))
    total = phantom_case(phantom).problem
    rows = []
    for name, parameters, _published in REMOVALS:
        rows.append({"method": name, "parameters": parameters, **removal_row(name, parameters, phantom, total)[0]})
        print(f"{head['case']} {name:>8} {parameters} " + figures(rows[-1]), flush=True)
    return {**head, "rows": rows}


def inversions(head: dict[str, Any], size: str) -> dict[str, Any]:
    """χ of one head, from the local field, from the total field less its background, and from the total field."""
    alone, phantom = (build_phantom(PhantomParameters(size=size, background=b, **head)) for b in (False, True))
    total = phantom_case(phantom).problem
    fields = {name: removal_row(name, {}, phantom, total)[1] for name in INVERTED}
    common = phantom.evaluation_mask & np.logical_and.reduce([problem.mask for problem in fields.values()])
    data: list[tuple[str, str, dict[str, Any], Problem]]
    data = [("local field, no background", name, SAME, phantom_case(alone).problem) for name in ("medi", "tfi")]
    data += [(f"total field less `{name}`", "medi", SAME, fields[name]) for name in INVERTED]
    data += [("total field", "tfi", {}, total), ("total field, echoes", "mctfi", {}, total)]
    rows = []
    for text, solver, parameters, problem in data:
        rows.append({"data": text, "solver": solver, **inversion_row(solver, parameters, problem, phantom, common)})
        print(f"{head['case']} {solver:>6} {text:<28} " + figures(rows[-1]), flush=True)
    return {**head, "rows": rows}


def figures(row: dict[str, Any]) -> str:
    """Errors of a row."""
    return " ".join(f"{error:.1f}" for error in row["errors"])


def table(heads: list[dict[str, Any]], *, chi: bool) -> str:
    """Every figure of the first head / of the second."""
    lines = []
    for index, first in enumerate(heads[0]["rows"]):
        rows = [head["rows"][index] for head in heads]

        def both(member: str, digits: int = 1, place: int | None = None, rows: list[dict] = rows) -> str:
            values = [row[member] if place is None else row[member][place] for row in rows]
            return " / ".join(f"{value:.{digits}f}" for value in values)

        errors = [both("errors", place=place) for place in range(len(DEPTHS_MM))]
        if chi:
            lines.append([f"`{first['solver']}`", first["data"], *errors, both("error_in_common"), both("seconds", 0)])
        else:
            method, published = label(first["method"], first["parameters"]), REMOVALS[index][2]
            cells = [method, both("share_of_mask", 2), both("error_with_noise"), *errors, both("seconds", 0), published]
            lines.append(cells)
    depths = ["in its mask", *(f"{depth:g} mm" for depth in DEPTHS_MM[1:])]
    if chi:
        return markdown(["χ by", "from", *depths, "where all are valid", "s"], lines)
    return markdown(["method", "share of the mask", "with noise", *depths, "s", "community board"], lines)


def main() -> None:
    """Run, store and print."""
    parser = BenchmarkParser(description=__doc__)
    parser.add_argument("--size", choices=("reduced", "full"), default="full")
    parser.add_argument("--chi", action="store_true", help="the second table: χ from these fields")
    parser.add_argument("--case", choices=("sim1", "sim2"), help="one head only")
    options = parser.parse_args()
    chosen = [head for head in HEADS if options.case in (None, head["case"])]
    heads = [(inversions if options.chi else removals)(head, options.size) for head in chosen]
    words = ["background", "chi" if options.chi else "", options.case, "" if options.size == "full" else "reduced"]
    name = "_".join(filter(None, words))
    path = save_results(name, {"machine": machine(), "size": options.size, "depths_mm": DEPTHS_MM, "heads": heads})
    print(f"\n{table(heads, chi=options.chi)}\n\nwritten to {path}")


if __name__ == "__main__":
    raise SystemExit(guarded(main, interrupted="interrupted"))
