"""Devices of torch's."""

from __future__ import annotations

import torch

from qsm_recon.errors import ResourceError


def free_bytes(name: str) -> float:
    """Return how much memory of a graphics processor tensors of this process may still take."""
    device = require_device(name)
    free, _ = torch.cuda.mem_get_info(device)
    return float(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def require_device(name: str) -> torch.device:
    """Return a device of torch's.

    Parameters
    ----------
    name
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Raises
    ------
    ResourceError
        If it is not there.
    """
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            built = "with" if torch.backends.cuda.is_built() else "without"
            raise ResourceError(
                f"device {name}: torch {torch.__version__}, which is built {built} CUDA, sees {count} such devices; "
                "choose cpu, or look at the driver (nvidia-smi) and at which torch is installed"
            )
    return device
