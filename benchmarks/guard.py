"""False alarms and misses of the test for background: ``python -m benchmarks.guard [RC1_DIR] [--heads DIR]``.

The embedded phantom, without and with the air around the head, over seeds that nothing was decided on and both
signal-to-noise ratios, whole, cut to slabs, and with part of the background only; the 2016 challenge's field; heads
simulated by other code (``*.npz``).  For each the share of the field that sources outside the mask leave, that of
tissue alone, their ratio, and the verdict.
JSON in ``benchmarks/results``; prints Markdown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.heads import require_heads
from benchmarks.suite.command import BenchmarkParser, guarded
from benchmarks.suite.table import markdown
from benchmarks.timing import machine, save_results
from qsm_recon import Problem, load_case
from qsm_recon.background.detection import TOTAL_BELOW, background_test
from qsm_recon.field import EchoSeries, estimate_field
from qsm_recon.operators.grid import Grid

HEADS = tuple((seed, simulation, ratio) for seed, ratio in ((31, 30), (32, 100)) for simulation in ("sim1", "sim2"))
SLABS_MM = (40.0, 20.0)
WEAKER = (0.3, 0.1)


def slab(problem: Problem, axis: int, thickness_mm: float) -> Problem:
    """The middle of a problem's mask, cut across an axis."""
    where = np.flatnonzero(problem.mask.any(axis=tuple(other for other in range(3) if other != axis)))
    half = max(1, round(thickness_mm / problem.grid.voxel_size_mm[axis] / 2))
    middle = int(where.mean())
    keep = np.zeros(problem.mask.shape[axis], bool)
    keep[middle - half : middle + half] = True
    shape = [1, 1, 1]
    shape[axis] = -1
    return dataclasses.replace(problem, mask=problem.mask & keep.reshape(shape), echoes=None)


def phantoms() -> Iterator[tuple[str, str, Problem]]:
    """Group, truth and problem of every phantom."""
    for seed, simulation, ratio in HEADS:
        text = f"phantom:{simulation}?size=reduced&seed={seed}&snr={ratio}&background="
        local, total = (load_case(text + word).problem for word in ("false", "true"))
        for truth, problem in (("local", local), ("total", total)):
            yield f"phantom {simulation}", truth, problem
            for thickness in SLABS_MM:
                for axis in (0, 2):
                    yield f"slabs of {thickness:g} mm of them", truth, slab(problem, axis, thickness)
        for share in WEAKER:
            field = local.field_ppm + np.float32(share) * (total.field_ppm - local.field_ppm)
            mask = local.mask & total.mask
            yield (
                f"{share:g} of the background", "total",
                dataclasses.replace(total, field_ppm=field, mask=mask, echoes=None),
            )  # fmt: skip


def simulated_head(path: Path) -> Problem:
    """A head simulated by other code: magnitude and phase of its echoes, fitted."""
    with np.load(path, allow_pickle=False) as stored:
        data = {name: stored[name] for name in stored.files}

    def image(name: str, scale: float) -> NDArray[np.float32]:
        values = data[name]
        return (values * np.float32(scale) if values.dtype == np.int16 else values).astype(np.float32)

    magnitude = image("magnitude", float(data.get("magnitude_scale", 1.0)))
    times = tuple(float(time) for time in data["echo_times_s"])
    tesla = float(data["b0_tesla"])
    series = EchoSeries(magnitude, image("phase", np.pi / 32767), times, tesla)
    estimate = estimate_field(series, data["mask"])
    size = tuple(float(edge) for edge in data["voxel_size_mm"])
    return Problem(
        estimate.field_ppm, estimate.mask, Grid(data["mask"].shape, size),  # type: ignore[arg-type]
        magnitude=np.sqrt(np.square(magnitude).sum(axis=-1)), field_noise_ppm=estimate.field_noise_ppm,
        echo_times_s=times, b0_tesla=tesla,
    )  # fmt: skip


def main() -> None:
    """Run, store and print."""
    parser = BenchmarkParser(description=__doc__)
    parser.add_argument("rc1", nargs="?", type=Path, help="folder of the 2016 challenge's data")
    parser.add_argument("--heads", type=Path, help="folder of simulated heads")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []

    def judge(group: str, truth: str, problem: Problem) -> None:
        found = background_test(dataclasses.replace(problem, field_kind="unknown"))
        row = {"group": group, "truth": truth, "found": found.kind, "ratio": found.ratio}
        rows.append({**row, "left": found.left, "left_of_tissue": found.left_of_tissue})
        print(f"{group:<32} {truth}: {found.kind}, ratio {found.ratio:.3f} ({found.text})", flush=True)

    if options.rc1:
        judge("2016 challenge", "local", load_case(f"rc1:{options.rc1}").problem)
    for path in require_heads(options.heads) if options.heads else ():
        judge(f"simulated {path.stem}", "local", simulated_head(path))
    for group, truth, problem in phantoms():
        judge(group, truth, problem)
    lines = []
    for group, truth in dict.fromkeys((row["group"], row["truth"]) for row in rows):
        here = [row for row in rows if (row["group"], row["truth"]) == (group, truth)]
        ratios = [row["ratio"] for row in here]
        wrong = sum(row["found"] != truth for row in here)
        lines.append([group, str(truth), str(len(here)), f"{min(ratios):.3g} to {max(ratios):.3g}", str(wrong)])
    path = save_results("guard", {"machine": machine(), "total_below": TOTAL_BELOW, "rows": rows})
    print(f"\n{markdown(['field', 'truth', 'number', 'ratio', 'wrong'], lines)}\n\nwritten to {path}")


if __name__ == "__main__":
    raise SystemExit(guarded(main, interrupted="interrupted"))
