"""Timing and memory helpers that benchmarks share."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from qsm_recon.backend.memory import return_free_memory
from qsm_recon.backend.transforms import fourier_transform

RESULTS = Path(__file__).parent / "results"


def median_seconds(function: Callable[[], Any], repeats: int = 9) -> float:
    """Median wall-clock time of a call, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def four_transforms_seconds(shape: tuple[int, int, int]) -> float:
    """Two forward and two inverse transforms of a grid by this package's plane and row transforms."""
    transform = fourier_transform(shape)
    image = transform.empty_image()  # the time does not depend on the values, and zeros stay finite
    spectrum = transform.empty_spectrum()

    def four() -> None:
        for _ in range(2):
            transform.forward(image, spectrum)
            transform.inverse(spectrum, image)

    return median_seconds(four)


class PeakMemory:
    """Watches the resident memory of this process in the background; a context manager.

    The kernel's own high-water mark cannot be reset, so the current size is sampled every few milliseconds.
    """

    def __enter__(self) -> PeakMemory:
        """Start watching."""
        self._process = psutil.Process()
        self._stop = threading.Event()
        self.baseline_bytes = self.peak_bytes = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.002):
            self.peak_bytes = max(self.peak_bytes, self._process.memory_info().rss)

    @property
    def added_bytes(self) -> int:
        """Highest size above that at the start."""
        return self.peak_bytes - self.baseline_bytes


def return_unused_memory() -> None:
    """Give back what nobody refers to, or the C library kept; what takes it again would seem to need none."""
    gc.collect()
    return_free_memory()


def machine() -> dict[str, Any]:
    """Facts about the machine that figures depend on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def save_results(name: str, results: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Store figures as JSON, by default beside the benchmarks."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(results, indent=2) + "\n")
    return path


def stored_results(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    """What was stored; without rows where nothing was."""
    path = folder / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"rows": []}
    return found


def save_rows(name: str, rows: list[dict[str, Any]], key: tuple[str, ...], folder: Path = RESULTS) -> Path:
    """Store the rows of a table, each with the machine that it was made on; rows of other keys stay as they were.

    Parameters
    ----------
    name
        Of the file of results.
    rows
        New rows.
    key
        Members that tell rows apart.
    folder
        Where the file is.
    """
    fresh = [{**row, "machine": machine()} for row in rows]
    replaced = [[row[part] for part in key] for row in fresh]
    known = stored_results(name, folder)["rows"]
    kept = [row for row in known if [row.get(part) for part in key] not in replaced]
    return save_results(name, {"rows": kept + fresh}, folder)
