"""Time and memory of field estimation at the size of the challenge: ``python -m benchmarks.bench_field``.

``--heads DIR`` instead: simulated heads with strong sources (``*.npz``), and how much longer voxels in doubt make the
fit: its time over that without the step that looks for them and settles them, median of repeats in one process.
"""

from __future__ import annotations

import resource
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.heads import head_echoes, head_files
from benchmarks.suite.command import BenchmarkParser
from benchmarks.timing import save_rows
from qsm_recon.field import EchoSeries, complex_fit, estimate_field

ECHO_TIMES_S = (0.004, 0.012, 0.020, 0.028)


def make_example(shape: tuple[int, int, int], noise: float) -> tuple[EchoSeries, np.ndarray, np.ndarray]:
    """Return echoes of a smooth field that passes the Nyquist range, an ellipsoid as mask, and the true frequency."""
    rng = np.random.default_rng(0)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in shape], indexing="ij")
    frequency = 150 * np.exp(-8 * ((x - 0.2) ** 2 + y**2 + z**2)) + 20 * z
    mask = (x / 0.85) ** 2 + (y / 0.75) ** 2 + (z / 0.7) ** 2 < 1
    times = np.array(ECHO_TIMES_S, dtype=np.float32)
    exponent = -(30 + 20 * y[..., None]) * times + 1j * (1 + x[..., None] + 2 * np.pi * frequency[..., None] * times)
    signal = np.exp(exponent.astype(np.complex64))
    signal.real += noise * rng.standard_normal(signal.shape, dtype=np.float32)
    signal.imag += noise * rng.standard_normal(signal.shape, dtype=np.float32)
    return EchoSeries(np.abs(signal), np.angle(signal), ECHO_TIMES_S, 7.0), mask, frequency


def price_of_doubt(path: Path, repeats: int = 3) -> dict[str, Any]:
    """Seconds of a head's fit, and of its part that settles voxels in doubt."""
    echoes, mask, grid = head_echoes(path)
    settle, inside, whole = complex_fit.settle, [], []

    def timed(*given: Any) -> Any:
        began = time.perf_counter()
        result = settle(*given)
        inside.append(time.perf_counter() - began)
        return result

    complex_fit.settle = timed  # type: ignore[assignment]
    try:
        for _ in range(repeats + 1):  # the first compiles
            began = time.perf_counter()
            found = estimate_field(echoes, mask, grid=grid)
            whole.append(time.perf_counter() - began)
    finally:
        complex_fit.settle = settle
    return {
        "head": path.stem,
        "seconds": statistics.median(whole[1:]),
        "of_these_for_doubt": statistics.median(inside[1:]),
        "ratio": statistics.median(total / (total - part) for total, part in zip(whole[1:], inside[1:], strict=True)),
        "voxels_in_doubt": found.report["voxels_in_doubt"],
    }


def main() -> None:
    """Print wall time, peak memory and error for both methods, inside a brain-like mask and everywhere."""
    parser = BenchmarkParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(164, 205, 205))
    parser.add_argument("--noise", type=float, default=0.02, help="relative to the signal at echo time 0")
    parser.add_argument("--heads", type=Path, metavar="DIR", help="heads with strong sources in place of the example")
    options = parser.parse_args()
    if options.heads is not None:
        for path in head_files(options.heads):
            row = price_of_doubt(path)
            save_rows("field_in_doubt", [row], ("head",))
            print(
                f"{row['head']}: {row['seconds']:.1f} s, {row['ratio']:.2f} times as long as without settling doubts "
                f"({row['voxels_in_doubt']} voxels in doubt)"
            )
        return
    echoes, mask, truth = make_example(tuple(options.shape), options.noise)
    small = EchoSeries(echoes.magnitude[:8, :8, :8], echoes.phase_rad[:8, :8, :8], ECHO_TIMES_S, 7.0)
    for method in ("fit", "difference"):
        estimate_field(small, np.ones(small.shape, dtype=bool), method)  # compile
    for where, inside in (("mask", mask), ("everywhere", np.ones_like(mask))):
        for method in ("fit", "difference"):
            start = time.perf_counter()
            found = estimate_field(echoes, inside, method)
            seconds = time.perf_counter() - start
            error = (found.frequency_hz - truth)[inside]
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            print(
                f"{method:10s} {where:10s} {np.count_nonzero(inside):8d} voxels  {seconds:5.1f} s  peak {peak:4.1f} GB"
                f"  rms error {np.sqrt(np.mean(error**2)):.3f} Hz"
            )


if __name__ == "__main__":
    main()
