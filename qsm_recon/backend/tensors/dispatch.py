"""The way from a kernel that is called with tensors to its twin."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from torch import Tensor

from qsm_recon.backend.jit import SUFFIX, register_arrays
from qsm_recon.errors import ParameterError


def twin_of(function: Callable) -> Callable:
    """Return the function on tensors that does the same as a kernel.

    Parameters
    ----------
    function
        What the kernel is compiled from.

    Raises
    ------
    ParameterError
        If there is none: reading, field estimation and background removal compute on the CPU.
    """
    room = f"qsm_recon.backend.tensors.{function.__module__.rpartition('.')[2].removesuffix(SUFFIX)}"
    found: Callable | None = None
    if find_spec(room) is not None:
        found = getattr(import_module(room), function.__name__, None)
    if found is None:
        raise ParameterError(
            f"device: kernel '{function.__name__}' is there for the CPU only, but was given a tensor; choose device cpu"
        )
    return found


@cache
def runner(function: Callable) -> Callable:
    """The twin of a kernel, called with Python's numbers where the kernel is with numpy's."""
    twin = twin_of(function)

    def run(*arguments: Any) -> Any:
        return twin(*map(_python_number, arguments))

    return run


def _python_number(value: Any) -> Any:
    """Numpy's numbers, alone or in a tuple, as Python's: on their left side a tensor would be taken for an array."""
    if isinstance(value, np.generic):
        return value.item()
    return tuple(map(_python_number, value)) if isinstance(value, tuple) else value


register_arrays(Tensor, runner)
