"""How much memory this process may still take."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pathlib import Path
from typing import Any

from qsm_recon.backend.device import CPU, TORCH_CPU, device_name, require_device, torch_name
from qsm_recon.errors import ParameterError, ResourceError

GIB = 2**30
BESIDE_TENSORS = 1.15
"""What a device takes over the tensors of a solve: blocks of torch's allocator, workspaces of transforms."""
_CONTROL_GROUP = Path("/sys/fs/cgroup")
_limit: dict[str, float | None] = {"bytes": None}


def set_memory_limit(gibibytes: float | None) -> None:
    """Choose how much memory this process may take in all; None leaves it to the machine.

    Raises
    ------
    ParameterError
        If the limit is not positive.
    """
    if gibibytes is not None and not gibibytes > 0:
        raise ParameterError(f"memory limit: expected a positive number of GiB, found {gibibytes:g}")
    _limit["bytes"] = None if gibibytes is None else gibibytes * GIB


def available_bytes() -> float:
    """Return how much more memory this process may take: what the machine, its container and the limit allow."""
    import psutil

    available = float(psutil.virtual_memory().available)
    try:  # a container's limit, which the machine's own figure does not show
        allowed = int((_CONTROL_GROUP / "memory.max").read_text())
        used = int((_CONTROL_GROUP / "memory.current").read_text())
    except (OSError, ValueError):  # none, or not Linux
        pass
    else:
        available = min(available, float(allowed - used))
    if _limit["bytes"] is not None:
        available = min(available, _limit["bytes"] - psutil.Process().memory_info().rss)
    return max(available, 0.0)


def return_free_memory() -> None:
    """Give back what was freed: the C library of Linux keeps volumes for arrays that may never come."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def require_memory(needed_bytes: float, what: str, advice: str) -> None:
    """Refuse a job that needs more memory than there is.

    Raises
    ------
    ResourceError
        Naming the job, both amounts, and what to do.
    """
    available = available_bytes()
    if needed_bytes > available:
        limit = "" if _limit["bytes"] is None else f" within the limit of {_limit['bytes'] / GIB:g} GiB"
        raise ResourceError(
            f"{what}: about {needed_bytes / GIB:.3g} GiB of memory needed, but {available / GIB:.3g} GiB "
            f"available{limit}; {advice}"
        )


def device_available_bytes() -> float | None:
    """Return how much memory is free on the graphics processor where solvers compute; None where it is the machine's.

    Raises
    ------
    MissingDependencyError, ResourceError
        If the device is not there.
    """
    name = device_name()
    if name in (CPU, TORCH_CPU):
        return None
    require_device(name)
    from qsm_recon.backend.tensors.devices import free_bytes

    return free_bytes(torch_name(name))


def require_device_memory(tensor_bytes: float, what: str, advice: str) -> None:
    """Refuse a job whose tensors the chosen device cannot hold; nothing where it has the machine's memory.

    Raises
    ------
    ResourceError
        Naming the job, the device, both amounts, and what to do.
    """
    available = device_available_bytes()
    if available is not None:
        check_device_memory(tensor_bytes, available, what, advice)


def check_device_memory(tensor_bytes: float, available: float, what: str, advice: str) -> None:
    """See :func:`require_device_memory`; with what is free."""
    needed = BESIDE_TENSORS * tensor_bytes
    if needed > available:
        raise ResourceError(
            f"{what}: about {needed / GIB:.3g} GiB of memory of device {device_name()} needed, but "
            f"{available / GIB:.3g} GiB free there; {advice}"
        )
