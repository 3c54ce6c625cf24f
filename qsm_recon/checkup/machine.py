"""Facts about installation and machine, and none about the user: the home folder is written ``~``."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distribution, requires, version
from pathlib import Path
from typing import Any

from qsm_recon.backend.cache_folder import cache_folder, cache_root
from qsm_recon.backend.cache_upkeep import KINDS, cache_entries, cache_limit_bytes
from qsm_recon.version import __version__

KERNEL_VARIABLE = "NUMBA_CACHE_DIR"
PLACES = ("phantom", "fft", "kernels")


def machine_facts() -> dict[str, Any]:
    """Describe software, processor, memory, disk and cache; plain values.

    Raises
    ------
    ParameterError
        If the limit of the cache is not a number.
    """
    return {
        "software": software(),
        "fourier_transforms": fourier_library(),
        "threads": threads(),
        "memory_gib": memory(),
        "temporary_folder": disk(Path(tempfile.gettempdir())),
        "cache": cache(),
    }


def software() -> dict[str, str]:
    """Versions of this package, of Python and of what the package requires, and where Python is."""
    found = {
        "qsm_recon": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "executable": sys.executable or "unknown",
        "package": str(Path(__file__).resolve().parents[1]),
        "system": platform.platform(),
        "processor": platform.machine(),
    }
    for name in required_names():
        found[name] = installed_version(name)
    return found


def installed_version(name: str) -> str:
    """Version of an installed package, or ``not installed``."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def requirements() -> list[str] | None:
    """What the installed package requires, such as ``numpy>=1.24``, extras aside; None where it is not installed."""
    try:
        return [text for text in requires("qsm_recon") or [] if "extra ==" not in text]
    except PackageNotFoundError:
        return None


def required_names() -> list[str]:
    """Names of the required packages; of the most important ones where the package is not installed."""
    known = requirements()
    if known is None:
        return ["numpy", "scipy", "numba", "pyfftw", "nibabel", "matplotlib"]
    return [found.group() for text in known if (found := re.match(r"[\w.-]+", text))]


def module_of(package: str) -> str:
    """Name to import an installed package by, which may be another than its own (pillow: PIL)."""
    listed = (distribution(package).read_text("top_level.txt") or package).split()
    return package if package in listed else listed[0]


def fourier_library() -> str:
    """Library that computes the Fourier transforms, with its version."""
    from qsm_recon.backend.fft import library_name

    return library_name()


def threads() -> dict[str, Any]:
    """Threads that are used, cores there are, and how many processes wanted to run in the last minute."""
    from qsm_recon.backend.threads import thread_count

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    limits = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS") if name in os.environ}
    return {"used": thread_count(), "cores": os.cpu_count(), "load": load, "set": limits}


def memory() -> dict[str, float]:
    """Memory of the machine, and what this process may still take, in GiB."""
    import psutil

    from qsm_recon.backend.memory import GIB, available_bytes

    return {"total": psutil.virtual_memory().total / GIB, "available": available_bytes() / GIB}


def disk(folder: Path) -> dict[str, Any]:
    """Where a folder is, and how much more fits there, in GB."""
    existing = next((place for place in (folder, *folder.absolute().parents) if place.exists()), None)
    try:
        free = None if existing is None else shutil.disk_usage(existing).free / 1e9
    except OSError:
        free = None
    return {"place": str(folder), "free_gb": free}


def cache() -> dict[str, Any]:
    """Where the cache is, what it holds, how much it may hold, and whether it can be written.

    Raises
    ------
    ParameterError
        If the limit is not a number.
    """
    limit = cache_limit_bytes()
    held = {}
    entries = cache_entries()
    for kind in KINDS:
        sizes = [entry.size_bytes for entry in entries if entry.kind == kind]
        held[kind] = {"count": len(sizes), "bytes": sum(sizes)}
    return {
        **disk(cache_root()),
        "limit_gb": limit / 1e9,
        "held": held,
        "bytes": sum(entry.size_bytes for entry in entries),
        "writable": all(cache_folder(place) is not None for place in PLACES),
        "kernels_elsewhere": os.environ.get(KERNEL_VARIABLE),
    }


def without_home(value: Any) -> Any:
    """Write ``~`` for the home folder in every text of a value made of dictionaries, lists and plain values."""
    if isinstance(value, dict):
        return {key: without_home(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_home(item) for item in value]
    return shortened(value) if isinstance(value, str) else value


def shortened(text: str) -> str:
    """Write ``~`` for the home folder, where there is one, at the beginning of each path of a text."""
    try:
        home = str(Path.home())
    except RuntimeError:  # a user without one
        return text
    if Path(home) == Path(home).parent:  # the root of the disk: it would be cut off every path
        return text
    return re.sub(rf"(?<![\w./\\-]){re.escape(home)}(?![\w.-])", "~", text)
