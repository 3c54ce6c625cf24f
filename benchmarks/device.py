"""Solvers on a graphics processor: ``python -m benchmarks.device``, at most ten minutes.

In this order, each part only while there is time: agreement of maps with those of the compiled kernels; time of an
iteration beside that of the Fourier transforms it holds and that of copying a volume, in the same run; seconds to
convergence with default settings; an L-curve; memory.  The head is made of ellipsoids, its field by the operator.
Where the device is not there it says that nothing was measured, and ends with code 1.  ``--device torch:cpu`` rehearses
on the cores; figures are stored (``benchmarks/results/device.json``) for real devices only.
With ``--fused`` element-wise work is compiled by torch first, which the second solve of a kind no longer waits for.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.suite.command import BenchmarkParser
from benchmarks.timing import machine, median_seconds, save_results
from qsm_recon import Grid, Problem, make_solver
from qsm_recon.backend.device import TORCH_CPU, on_device, require_device, torch_name
from qsm_recon.backend.transforms import fourier_transform
from qsm_recon.errors import QSMError
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.solvers.registry import solvers

METHODS = ("fansi", "fansi-tgv", "wl1l2", "medi")
TRANSFORMS = {"fansi": 4, "fansi-tgv": 10, "wl1l2": 4}  # real ones in an iteration; medi's inner ones are not seen
SIZES = ((164, 205, 205), (252, 315, 315))
SMALL = (48, 48, 48)
EXTENT_MM = (164.0, 205.0, 205.0)
ITERATIONS, WARM_UP = 30, 5
POINTS = 15
ELLIPSOIDS = 80
NOISE_PPM = 2e-3
Result = TypeVar("Result")


def head(shape: tuple[int, int, int], seed: int = 0) -> Problem:
    """Field of ellipsoids in an ellipsoid, with noise, of the same extent in mm whatever the number of voxels."""
    rng = np.random.default_rng(seed)
    axes = [np.linspace(-1.1, 1.1, n, dtype=np.float32) for n in shape]
    mask = _ellipsoid(axes, (0, 0, 0), (1, 1, 1))
    susceptibility = np.zeros(shape, np.float32)
    for _ in range(ELLIPSOIDS):
        inside = _ellipsoid(axes, rng.uniform(-0.6, 0.6, 3), rng.uniform(0.05, 0.25, 3))
        susceptibility[inside] = rng.normal(0, 0.06)
    x, y, z = (edge / n for edge, n in zip(EXTENT_MM, shape, strict=True))
    grid = Grid(shape, (x, y, z))
    susceptibility *= mask
    field = DipoleOperator(grid, padding=16).forward(susceptibility)
    field += (NOISE_PPM * rng.standard_normal(shape)).astype(np.float32)
    magnitude = (1 + 2 * np.abs(susceptibility) + 0.02 * rng.standard_normal(shape)).astype(np.float32) * mask
    field = (field * mask).astype(np.float32)
    return Problem(
        field, mask, grid, magnitude=magnitude, b0_tesla=3.0, echo_times_s=(0.02,), field_kind="local"
    )  # fmt: skip


def _ellipsoid(axes: Sequence[NDArray], centre: ArrayLike, radii: ArrayLike) -> NDArray[np.bool_]:
    parts = [((axis - c) / r) ** 2 for axis, c, r in zip(axes, np.array(centre), np.array(radii), strict=True)]
    return np.asarray(parts[0][:, None, None] + parts[1][:, None] + parts[2] < 1)


def settings(name: str, **wanted: Any) -> dict[str, Any]:
    """Those of the wanted settings that a method has."""
    return {key: value for key, value in wanted.items() if key in solvers()[name].declared()}


def agreement(device: str) -> list[dict[str, Any]]:
    """Relative difference of maps after 50 iterations from those of the compiled kernels, on a small head."""
    problem, rows = head(SMALL), []
    for name in ("tkd", "tv", *METHODS, "ndi"):
        for precision in ("single", "double"):
            wanted = settings(name, precision=precision, max_iterations=50, tolerance=0.0, residual_tolerance=0.0)
            here = make_solver(name, **wanted).solve(problem).susceptibility_ppm
            there = make_solver(name, **wanted).solve(problem, device=device).susceptibility_ppm
            difference = float(np.linalg.norm(there - here) / np.linalg.norm(here))
            rows.append({"method": name, "precision": precision, "difference": difference})
            print(f"{name:>10} {precision}: maps differ by {difference:.1e}", flush=True)
    return rows


def waiting(device: str) -> Callable[[], None]:
    """What waits until a device has done all that it was given."""
    import torch

    return torch.cuda.synchronize if torch_name(device).startswith("cuda") else lambda: None


def floor_of(shape: tuple[int, int, int], device: str) -> dict[str, float]:
    """Seconds of a forward and an inverse transform of a padded grid, and of copying a volume of it."""
    transform, wait = fourier_transform(shape, "float32", device), waiting(device)
    image, spectrum, other = transform.empty_image(), transform.empty_spectrum(), transform.empty_image()

    def both() -> None:
        transform.forward(image, spectrum)
        transform.inverse(spectrum, image)
        wait()

    def copy() -> None:
        for _ in range(10):
            other[...] = image
        wait()

    return {"two_transforms_s": median_seconds(both), "copy_s": median_seconds(copy) / 10}


def iteration(name: str, problem: Problem, device: str) -> dict[str, Any]:
    """Median time of an iteration, beside its transforms and beside copies of a volume."""
    stamps: list[float] = []
    solver = make_solver(name, **settings(name, max_iterations=ITERATIONS, tolerance=0.0, residual_tolerance=0.0))
    found = solver.solve(problem, callback=lambda _state: stamps.append(time.perf_counter()), device=device)
    shape = tuple(found.details["padded_shape"])
    floor = floor_of(shape, device)
    seconds = statistics.median(np.diff(stamps)[WARM_UP:])
    transforms = TRANSFORMS[name] / 2 * floor["two_transforms_s"]
    rate = 2 * 4 * float(np.prod(shape)) / floor["copy_s"]
    print(
        f"{name:>10} {'×'.join(map(str, shape)):>13}: iteration {1e3 * seconds:.2f} ms, {seconds / transforms:.2f} "
        f"times its {TRANSFORMS[name]} transforms, {seconds / floor['copy_s']:.0f} copies of a volume "
        f"({rate / 1e9:.0f} GB/s)",
        flush=True,
    )
    return {"method": name, "shape": list(shape), "iteration_s": seconds, "transforms_s": transforms, **floor}


def convergence(name: str, problem: Problem, device: str) -> dict[str, Any]:
    """Seconds of a whole solve with default settings, the second of two."""
    for _ in range(2):
        result = make_solver(name).solve(problem, device=device)
    seconds = result.timings_s["solve"]
    shape = "×".join(map(str, problem.grid.shape))
    print(
        f"{name:>10} {shape:>13}: {seconds:.2f} s, {result.iterations} iterations, converged: {result.converged}",
        flush=True,
    )
    return {
        "method": name, "shape": list(problem.grid.shape), "seconds": seconds, "iterations": result.iterations,
        "converged": result.converged,
    }  # fmt: skip


def with_most_tensor_bytes(work: Callable[[], Result]) -> tuple[Result, int]:
    """Do something on the cores; returns what it returns, and the most memory that tensors took at once, in bytes."""
    from torch.autograd import profiler

    with profiler.profile(use_device=None, profile_memory=True) as seen:
        found = work()
    now = most = 0
    for event in seen.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return found, most


def memory(name: str, problem: Problem, device: str) -> dict[str, Any]:
    """Most memory that tensors take in two iterations, in volumes of the padded grid."""
    solver = make_solver(name, max_iterations=2)
    if torch_name(device).startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(torch_name(device))
        found = solver.solve(problem, device=device)
        peak = torch.cuda.max_memory_allocated(torch_name(device))
    else:
        found, peak = with_most_tensor_bytes(lambda: solver.solve(problem, device=device))
    volumes = peak / (4 * float(np.prod(found.details["padded_shape"])))
    print(f"{name:>10} {'×'.join(map(str, problem.grid.shape)):>13}: {volumes:.0f} volumes of memory", flush=True)
    return {"method": name, "shape": list(problem.grid.shape), "volumes": volumes}


def l_curve(problem: Problem, device: str) -> dict[str, Any]:
    """Seconds of a sweep over the weight of ``fansi``, each run from the state of the one before."""
    solver = make_solver("fansi").resolved(problem)
    began, iterations = time.perf_counter(), 0
    with on_device(device):
        series = solver.series(problem)
        for factor in np.geomspace(30, 1 / 30, POINTS):
            weight = float(factor) * solver.main_value()
            iterations += series.solve(replace(solver, regularisation_weight=weight)).iterations  # type: ignore[call-arg]
    seconds = time.perf_counter() - began
    print(f"L-curve of fansi, {POINTS} points: {seconds:.1f} s, {iterations} iterations", flush=True)
    return {"shape": list(problem.grid.shape), "points": POINTS, "seconds": seconds, "iterations": iterations}


def measure(device: str, sizes: Sequence[tuple[int, int, int]], until: float) -> dict[str, Any]:
    """All parts, as far as there is time; what was left out is named."""
    results: dict[str, Any] = {
        "agreement": agreement(device),
        "iterations": [],
        "convergence": [],
        "l_curve": [],
        "memory": [],
    }
    heads = {shape: head(shape) for shape in sizes}
    work: list[tuple[str, str, Callable[[], Any]]] = []
    for shape, problem in heads.items():
        for name in TRANSFORMS:
            work.append(("iterations", f"{name} {shape}", lambda n=name, p=problem: iteration(n, p, device)))  # type: ignore[misc]
    for shape, problem in heads.items():
        for name in METHODS:
            work.append(("convergence", f"{name} {shape}", lambda n=name, p=problem: convergence(n, p, device)))  # type: ignore[misc]
    work.append(("l_curve", f"L-curve {sizes[0]}", lambda: l_curve(heads[sizes[0]], device)))
    for name in METHODS:
        work.append(("memory", f"memory of {name}", lambda n=name: memory(n, heads[sizes[0]], device)))  # type: ignore[misc]
    left_out = []
    for part, label, run in work:
        if time.monotonic() > until:
            left_out.append(label)
            continue
        results[part].append(run())
    if left_out:
        print("no time was left for: " + ", ".join(left_out))
    return {**results, "left_out": left_out}


def facts(device: str) -> dict[str, Any]:
    """What figures depend on."""
    import torch

    name = torch_name(device)
    known = {"device": device, "torch": torch.__version__, "machine": machine()}
    if name.startswith("cuda"):
        known |= {"name": torch.cuda.get_device_name(name), "cuda": str(torch.version.cuda)}
    return known


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns 0, or 1 where the device is not there."""
    parser = BenchmarkParser(description="Time solvers on a graphics processor.")
    parser.add_argument(
        "--device", default="cuda", help="cuda, cuda:N, or torch:cpu to rehearse (default: %(default)s)"
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="begin nothing after these (default: %(default)s)")
    parser.add_argument("--memory", action="store_true", help="memory only")
    parser.add_argument("--fused", action="store_true", help="compile element-wise work by torch.compile")
    parser.add_argument("--edges", type=int, nargs="+", metavar="N", help="cubes instead of the two sizes of heads")
    options = parser.parse_args(arguments)
    until = time.monotonic() + 60 * options.minutes
    try:
        require_device(options.device)
    except QSMError as error:
        print(f"nothing was measured: {error}")
        return 1
    sizes = tuple((n, n, n) for n in options.edges) if options.edges else SIZES
    from qsm_recon.backend.tensors.fusing import set_fusing

    set_fusing(options.fused)
    known = facts(options.device) | {"fused": options.fused}
    print(", ".join(f"{key} {value}" for key, value in known.items() if key != "machine"), flush=True)
    if options.memory:
        for name in ("tv", *METHODS):
            memory(name, head(sizes[0]), options.device)
        return 0
    results = measure(options.device, sizes, until)
    if options.device == TORCH_CPU:
        print("a rehearsal on the cores: nothing was stored, and nothing says how fast a device is")
    else:
        print(f"written to {save_results('device_fused' if options.fused else 'device', {**known, **results})}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
