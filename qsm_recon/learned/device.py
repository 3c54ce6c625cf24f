"""Where the network is computed, and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qsm_recon.backend.threads import thread_count
from qsm_recon.errors import ParameterError, ResourceError, did_you_mean
from qsm_recon.learned.weights import require_torch

if TYPE_CHECKING:
    from torch import Tensor

DEVICES, PRECISIONS = ("auto", "cpu", "cuda"), ("auto", "single", "bfloat16")


@dataclass(frozen=True)
class Arithmetic:
    """A device and a precision.

    Parameters
    ----------
    device
        ``cpu`` or ``cuda``.
    precision
        ``single``, or ``bfloat16`` where convolutions are computed in it and everything else in single precision.
    """

    device: str = "cpu"
    precision: str = "single"

    def autocast(self) -> AbstractContextManager[Any]:
        """In which the network is to be computed."""
        import torch

        return torch.autocast(self.device, torch.bfloat16) if self.precision == "bfloat16" else nullcontext()

    def place(self, tensor: Tensor) -> Tensor:
        """Put a tensor there, in the order of memory that convolutions are fastest in."""
        import torch

        if tensor.ndim == 5:
            return tensor.to(self.device, memory_format=torch.channels_last_3d)
        return tensor.to(self.device)


def arithmetic(device: str = "auto", precision: str = "auto") -> Arithmetic:
    """Settle where and how to compute.

    Parameters
    ----------
    device
        ``auto`` takes a GPU where there is one.
    precision
        ``auto`` takes bfloat16 where the hardware multiplies in it.

    Raises
    ------
    ParameterError
        If a name is unknown.
    ResourceError
        If a GPU is asked for and there is none.
    """
    require_torch()
    import torch

    if device not in DEVICES:
        raise ParameterError(f"device '{device}' is unknown{did_you_mean(device, DEVICES)}")
    if precision not in PRECISIONS:
        raise ParameterError(f"precision '{precision}' is unknown{did_you_mean(precision, PRECISIONS)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ResourceError("device=cuda: torch finds no GPU here; choose device=cpu or auto")
    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    torch.set_num_threads(thread_count())
    if precision == "auto":
        precision = "bfloat16" if _multiplies_in_bfloat16(place) else "single"
    return Arithmetic(place, precision)


def _multiplies_in_bfloat16(device: str) -> bool:
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
