"""By which measures the phantom is easier than real anatomy: ``python -m benchmarks.phantom_realism [DIR_OF_RC1]``.

Susceptibility maps and the fields beside strong sources: the phantom and its named heads, COSMOS of the 2016 challenge
(``DIR_OF_RC1``), and heads simulated from it by other code (``--heads DIR``, its ``*.npz``).  Everything is measured
per voxel, deeper than 4 mm in the mask, and apart from strong sources (above 0.5 ppm, and two voxels around them),
except the field beside those.  Rows are stored as they come; ``--show`` only prints what is stored.

With ``--reconstruct`` also the error of ``tv`` at its best weight, from the field of the map without strong sources and
noise of 0.0013 ppm (0.4 Hz at 7 T): what remains when neither noise nor the estimate of the field are the trouble.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from benchmarks.heads import require_heads
from benchmarks.suite.command import BenchmarkParser, guarded
from benchmarks.suite.execute import error_percent
from benchmarks.suite.search import search_with_truth
from benchmarks.suite.table import markdown, number
from benchmarks.timing import RESULTS, save_rows
from qsm_recon import Problem, load_case, make_solver
from qsm_recon.datasets.case import Case
from qsm_recon.datasets.truth import Truth
from qsm_recon.operators.grid import Grid
from qsm_recon.phantom.signal import dipole_field
from qsm_recon.units import hz_per_ppm

PHANTOMS = (
    "phantom:sim1", "phantom:sim2", "phantom:sim1?anatomy=textured", "phantom:sim2?anatomy=textured",
    "phantom:sim2?anatomy=lesions", "phantom:sim2?anatomy=invivo",
)  # fmt: skip
DEPTH_MM = 4.0
RAMP_MM = 8.0
STRONG_PPM = 0.5
BESIDE_VOXELS = 5
SLOPE_WAVELENGTHS = (3.0, 16.0)
CROP = 96
NOISE_OF_SPREAD = 0.3
DENOISING_WEIGHTS = (0.25, 0.35, 0.5)
"""Over the standard deviation of the noise; the best is between the ends for every map tried."""
DENOISING_ITERATIONS = 40
FIELD_NOISE_PPM = 0.0013
SMOOTH_VOXELS = 4.0
"""Standard deviation of the Gaussian that a smooth part is what is left by."""
UPRIGHT = (0.0, 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Head:
    """A susceptibility map with its mask, and the frequency (ppm) where one belongs to it."""

    name: str
    chi: NDArray[np.float32]
    mask: NDArray[np.bool_]
    voxel_size_mm: tuple[float, float, float]
    frequency: NDArray[np.float32] | None = None

    @cached_property
    def depth_mm(self) -> NDArray[np.floating]:
        """Depth in the mask."""
        depth = ndimage.distance_transform_edt(np.pad(self.mask, 1), sampling=self.voxel_size_mm)
        return np.asarray(depth)[1:-1, 1:-1, 1:-1]

    @cached_property
    def strong(self) -> NDArray[np.bool_]:
        """Strong sources."""
        return self.mask & (np.abs(self.chi) > STRONG_PPM)

    @cached_property
    def tissue(self) -> NDArray[np.bool_]:
        """Where tissue is measured."""
        return (self.depth_mm > DEPTH_MM) & ~ndimage.binary_dilation(self.strong, iterations=2)

    @cached_property
    def field(self) -> NDArray[np.float32]:
        """Field of the map, ppm, by the dipole model."""
        return dipole_field(np.where(self.mask, self.chi, np.float32(0)), self.voxel_size_mm, UPRIGHT, 2.0)


def spectrum(head: Head) -> dict[str, float]:
    """Slope of the radial power spectral density, and the share of the power at wavelengths of 2 to 4 voxels."""
    ramp = np.clip((head.depth_mm - DEPTH_MM) / RAMP_MM, 0, 1)
    window = np.where(head.tissue, 0.5 - 0.5 * np.cos(np.pi * ramp), 0)
    window = ndimage.gaussian_filter(window, 1.0) * head.tissue
    chi = head.chi - np.average(head.chi, weights=window)
    shape = [fft.next_fast_len(n, real=True) for n in chi.shape]
    power = np.abs(fft.rfftn(chi * window, shape)) ** 2
    power[..., 1 : (shape[2] + 1) // 2] *= 2  # the other half of the spectrum
    twice = np.ones(power.shape[2])
    twice[1 : (shape[2] + 1) // 2] = 2
    axes = [fft.fftfreq(shape[0]), fft.fftfreq(shape[1]), fft.rfftfreq(shape[2])]
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*axes, indexing="ij", sparse=True)))
    edges = np.geomspace(1 / SLOPE_WAVELENGTHS[1], 1 / SLOPE_WAVELENGTHS[0], 9)
    ring = np.digitize(frequency, edges)
    count = np.bincount(ring.ravel(), np.broadcast_to(twice, ring.shape).ravel(), len(edges) + 1)
    density = (np.bincount(ring.ravel(), power.ravel(), len(edges) + 1) / count)[1:-1]
    centre = np.sqrt(edges[:-1] * edges[1:])
    finest = (frequency >= 0.25) & (frequency <= 0.5)
    return {
        "spectral_slope": -float(np.polyfit(np.log(centre), np.log(density), 1)[0]),
        "power_2_to_4_voxels": 100 * float(power[finest].sum() / power.sum()),
    }


def gradient_sparsity(head: Head) -> dict[str, float]:
    """How much of the gradient sits in few voxels: 0 Gini and a ratio of 1 if it is level, 1 and 0 if it is in one."""
    square = np.zeros(head.chi.shape)
    valid = head.tissue.copy()
    for axis in range(3):
        ahead = np.roll(head.chi, -1, axis)
        square += (ahead.astype(float) - head.chi) ** 2
        valid &= np.roll(head.tissue, -1, axis)
    sizes = np.sort(np.sqrt(square[valid]))
    n, energy = sizes.size, sizes**2
    return {
        "gradient_median_ppb": 1e3 * float(np.median(sizes)),
        "gradient_gini": float(2 * (np.arange(1, n + 1) @ sizes) / (n * sizes.sum()) - (n + 1) / n),
        "gradient_energy_in_5_percent": 100 * float(energy[int(0.95 * n) :].sum() / energy.sum()),
        "gradient_l1_over_l2": float(sizes.sum() / np.sqrt(n * energy.sum())),
    }


def left_by_tv(head: Head) -> float:
    """Error (%) of the best total-variation denoising of the map with noise of 30 % of its spread.

    The better few flat pieces represent a map, the smaller: what is not piecewise constant is taken for noise.  On a
    cube in the middle of the head.
    """
    centre = ndimage.center_of_mass(head.mask)
    box = tuple(slice(max(0, round(c) - CROP // 2), round(c) + CROP // 2) for c in centre)
    tissue = head.tissue[box]
    chi = np.where(tissue, head.chi[box] - head.chi[box][tissue].mean(), 0).astype(np.float32)
    deviation = np.float32(NOISE_OF_SPREAD * chi[tissue].std())
    noisy = chi + deviation * np.random.default_rng(1).standard_normal(chi.shape, dtype=np.float32) * tissue
    pairs = np.stack([tissue & np.roll(tissue, -1, axis) for axis in range(3)])
    for axis in range(3):
        pairs[(axis, *(slice(-1, None) if a == axis else slice(None) for a in range(3)))] = False
    errors = [
        float(np.linalg.norm((tv_denoised(noisy, np.float32(ratio * deviation), pairs) - chi)[tissue]))
        for ratio in DENOISING_WEIGHTS
    ]
    return 100 * min(errors) / float(np.linalg.norm(chi[tissue]))


def tv_denoised(image: NDArray[np.float32], weight: np.float32, pairs: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Minimise ½‖u - image‖² + weight Σ|differences of pairs| by accelerated projection on the dual.

    Beck A, Teboulle M. IEEE Trans Image Process 2009;18:2419-2434. doi:10.1109/TIP.2009.2028250
    """

    def adjoint(dual: NDArray[np.float32]) -> NDArray[np.float32]:
        return sum(np.roll(part, 1, axis) - part for axis, part in enumerate(dual))

    dual = ahead = np.zeros((3, *image.shape), np.float32)
    momentum = 1.0
    for _ in range(DENOISING_ITERATIONS):
        estimate = image - weight * adjoint(ahead)
        step = np.stack([np.roll(estimate, -1, axis) - estimate for axis in range(3)]) * pairs
        following = np.clip(ahead + step / (12 * weight), -1, 1)
        grown = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = following + np.float32((momentum - 1) / grown) * (following - dual)
        dual, momentum = following, grown
    return image - weight * adjoint(dual)


def beside_strong_sources(head: Head) -> dict[str, float]:
    """Percentiles of |field| and of its steps between neighbours, outside strong sources within five voxels of them."""
    near = ndimage.binary_dilation(head.strong, iterations=BESIDE_VOXELS) & head.mask & ~head.strong
    if not near.any():
        return {}
    size = np.abs(head.field[near])
    steps = [np.abs(np.roll(head.field, -1, axis) - head.field)[near & np.roll(near, -1, axis)] for axis in range(3)]
    found = {f"beside_field_{p}": float(np.percentile(size, p)) for p in (50, 90, 99)}
    return found | {f"beside_step_{p}": float(np.percentile(np.concatenate(steps), p)) for p in (50, 90, 99)}


def unexplained(head: Head) -> dict[str, float]:
    """What of the frequency in tissue is not the field of the map: part (%), size, and size of the smooth part."""
    if head.frequency is None:
        return {}
    rest = np.where(head.mask, head.frequency - head.field, 0).astype(np.float32)
    inside = ndimage.gaussian_filter(head.mask.astype(np.float32), SMOOTH_VOXELS)
    smooth = ndimage.gaussian_filter(rest, SMOOTH_VOXELS) / np.maximum(inside, np.float32(0.05))
    size, smooth_size, whole = (float(v[head.tissue].astype(float).std()) for v in (rest, smooth, head.frequency))
    return {
        "unexplained_percent": 100 * size / whole,
        "unexplained_ppb": 1e3 * size,
        "unexplained_smooth_ppb": 1e3 * smooth_size,
    }


def best_tv(head: Head) -> dict[str, float]:
    """Error (%) in tissue of ``tv`` at its best weight, from the field of the map without strong sources, and noise."""
    beside = ndimage.binary_dilation(head.strong, iterations=2)
    chi = np.where(beside, head.chi[head.tissue].mean(), head.chi).astype(np.float32) * head.mask
    noise = np.random.default_rng(0).standard_normal(chi.shape, dtype=np.float32)
    field = dipole_field(chi, head.voxel_size_mm, UPRIGHT, 2.0) + np.float32(FIELD_NOISE_PPM) * noise
    nx, ny, nz = chi.shape
    problem = Problem(
        np.where(head.mask, field, 0).astype(np.float32), head.mask, Grid((nx, ny, nz), head.voxel_size_mm)
    )
    truth = Truth(chi, evaluation_mask=head.tissue)
    case = Case(problem, np.diag([*head.voxel_size_mm, 1.0]), head.name, truth)
    solver = make_solver("tv", regularisation_weight=5e-5, weighting="uniform")
    found = search_with_truth(solver, problem, lambda result: error_percent(case, result))
    best = solver.with_regularisation(found.best_value).solve(problem)
    return {"tv_best_weight": found.best_value, "tv_nrmse": error_percent(case, best)}


def measure(head: Head, reconstruct: bool) -> dict[str, Any]:
    """All measures of one head."""
    row: dict[str, Any] = {
        "data_set": head.name,
        "spread_ppb": 1e3 * float(head.chi[head.tissue].std()),
        **spectrum(head),
        **gradient_sparsity(head),
        "tv_denoising": left_by_tv(head),
        **beside_strong_sources(head),
        "strong_voxels": int(head.strong.sum()),
        **unexplained(head),
    }
    return row | (best_tv(head) if reconstruct else {})


def heads(options: argparse.Namespace) -> Iterator[Head]:
    """Load what was asked for, one after the other."""
    heads_asked_for = require_heads(options.heads) if options.heads else []
    challenge = load_case(f"rc1:{options.rc1}") if options.rc1 else None
    for specification in options.phantoms:
        joint = "&" if "?" in specification else "?"
        case = load_case(f"{specification}{joint}size={options.size}&field=true")
        assert case.truth is not None
        problem = case.problem
        chi = np.asarray(case.truth.susceptibility_ppm, np.float32)
        yield Head(specification, chi, problem.mask, problem.grid.voxel_size_mm, problem.field_ppm)
    if challenge is not None:
        assert challenge.truth is not None
        chi = np.asarray(challenge.truth.susceptibility_ppm, np.float32)
        problem = challenge.problem
        yield Head("COSMOS", chi, problem.mask, problem.grid.voxel_size_mm, problem.field_ppm)
    for path in heads_asked_for:
        with np.load(path, allow_pickle=False) as stored:
            x, y, z = (float(v) for v in stored["voxel_size_mm"])
            frequency = (stored["field_hz"] / hz_per_ppm(float(stored["b0_tesla"]))).astype(np.float32)
            yield Head(path.stem, stored["chi_ppm"].astype(np.float32), stored["mask"], (x, y, z), frequency)


COLUMNS: tuple[tuple[str, str, int], ...] = (
    ("spread, ppb", "spread_ppb", 1),
    ("spectral slope", "spectral_slope", 2),
    ("power at 2–4 voxels, %", "power_2_to_4_voxels", 1),
    ("median gradient, ppb/voxel", "gradient_median_ppb", 1),
    ("Gini of the gradient", "gradient_gini", 2),
    ("gradient energy in 5 %, %", "gradient_energy_in_5_percent", 0),
    ("l1/l2 of the gradient", "gradient_l1_over_l2", 2),
    ("left by TV denoising, %", "tv_denoising", 1),
    ("`tv` from the true field, %", "tv_nrmse", 1),
    ("at weight, 1e-5 ppm·mm", "tv_best_weight", 1),
    ("unexplained frequency, %", "unexplained_percent", 0),
    ("the same, ppb", "unexplained_ppb", 1),
    ("of it smooth, ppb", "unexplained_smooth_ppb", 1),
)


def tables(rows: list[dict[str, Any]]) -> str:
    """Lay out stored rows: the measures of tissue, then the field beside strong sources."""
    rows = sorted(rows, key=lambda row: (*PHANTOMS, row["data_set"]).index(row["data_set"]))
    rows = [{**row, "tv_best_weight": 1e5 * row["tv_best_weight"]} if "tv_best_weight" in row else row for row in rows]
    tissue = markdown(
        ["data", *(title for title, _, _ in COLUMNS)],
        ([row["data_set"], *(number(row.get(name), digits) for _, name, digits in COLUMNS)] for row in rows),
    )
    names = [f"beside_{kind}_{p}" for kind in ("field", "step") for p in (50, 90, 99)]
    head = ["data", "voxels above 0.5 ppm", *(f"{kind}, {p} %" for kind in ("field", "step") for p in (50, 90, 99))]
    strong = [row for row in rows if row["strong_voxels"]]
    lines = ([row["data_set"], str(row["strong_voxels"]), *(number(row[name], 3) for name in names)] for row in strong)
    return f"{tissue}\n\n{markdown(head, lines)}"


def main() -> None:
    """Run and print."""
    parser = BenchmarkParser(description=__doc__)
    parser.add_argument("rc1", nargs="?", type=Path, help="folder of the 2016 challenge's data")
    parser.add_argument("--heads", type=Path, metavar="DIR", help="folder of simulated heads, *.npz")
    parser.add_argument("--phantoms", nargs="*", default=PHANTOMS, metavar="SPEC", help="data sets")
    parser.add_argument("--size", choices=("full", "reduced"), default="full", help="of phantoms")
    parser.add_argument("--reconstruct", action="store_true", help="also run tv from the true field")
    parser.add_argument("--show", action="store_true", help="only print what is stored")
    options = parser.parse_args()
    table = "phantom_realism" + ("" if options.size == "full" else "_reduced")
    for head in () if options.show else heads(options):
        row = measure(head, options.reconstruct)
        save_rows(table, [row], ("data_set",))
        print(json.dumps(row), flush=True)
    path = RESULTS / f"{table}.json"
    print(tables(json.loads(path.read_text())["rows"]) if path.is_file() else "nothing is stored")


if __name__ == "__main__":
    raise SystemExit(guarded(main, interrupted="interrupted"))
