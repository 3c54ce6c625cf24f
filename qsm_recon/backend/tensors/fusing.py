"""Element-wise work as one kernel of the device, by torch.compile: off unless it is asked for.

Without it every operation of a step goes through memory by itself.  With it the first call for a grid takes seconds
to a minute, which torch keeps on disk, and needs what torch compiles with: triton for CUDA, a C++ compiler for the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import torch
from torch import Tensor

from qsm_recon.backend.tensors.arrays import scalars_like

_state = {"on": False}


def set_fusing(on: bool) -> None:
    """Choose whether element-wise work is fused; results change by rounding."""
    _state["on"] = on


def fusible(function: Callable) -> Callable:
    """Let a function of tensors without effects be compiled where fusing is on.

    Parameters
    ----------
    function
        Its first argument is a tensor.  When compiled its numbers are tensors of that precision, too: another number
        would be compiled anew.
    """
    compiled = cache(lambda: torch.compile(function, dynamic=False))

    @wraps(function)
    def run(like: Tensor, *arguments: Any) -> Any:
        if not _state["on"]:
            return function(like, *arguments)
        return compiled()(like, *scalars_like(like, arguments))

    return run
