"""The way from a kernel that is called with tensors to its twin."""

from __future__ import annotations

import dis
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from torch import Tensor

from qsm_recon.backend.jit import ROOMS, Kernel, register_arrays
from qsm_recon.errors import ParameterError

WRITTEN_WITH_OTHERS = ("gradient",)
"""Rooms whose kernels are sweeps with scalar functions of their own."""


def twin_of(kernel: Kernel) -> Callable:
    """Return the function on tensors that does the same as a kernel.

    That of its name in this package, or for a function that is written with others that have one, itself with those.

    Parameters
    ----------
    kernel
        The kernel.

    Raises
    ------
    ParameterError
        If there is none: reading, field estimation and background removal compute on the CPU, and so do terms of
        other packages whose kernels have loops over voxels of their own.
    """
    function = kernel.function
    package, _, place = function.__module__.rpartition(".")
    if package not in ROOMS and not (kernel.takes_arrays and _loops(function)):
        return kernel.calling(twin_of, np.generic.item)
    room = f"qsm_recon.backend.tensors.{place}"
    if package in ROOMS and find_spec(room) is not None:
        found: Callable | None = getattr(import_module(room), function.__name__, None)
        if found is not None:
            return found
        if place in WRITTEN_WITH_OTHERS:
            return kernel.calling(twin_of, np.generic.item)
    raise ParameterError(
        f"device: kernel '{function.__name__}' is there for the CPU only, but was given a tensor; choose device cpu"
    )


def _loops(function: Callable) -> bool:
    """Whether a function jumps backwards."""
    jumps = {*dis.hasjrel, *dis.hasjabs}
    return any(one.opcode in jumps and one.argval <= one.offset for one in dis.get_instructions(function))


@cache
def runner(kernel: Kernel) -> Callable:
    """The twin of a kernel, called with Python's numbers where the kernel is with numpy's."""
    twin = twin_of(kernel)

    def run(*arguments: Any) -> Any:
        return twin(*map(_python_number, arguments))

    return run


def _python_number(value: Any) -> Any:
    """Numpy's numbers, alone or in a tuple, as Python's: on their left side a tensor would be taken for an array."""
    if isinstance(value, np.generic):
        return value.item()
    return tuple(map(_python_number, value)) if isinstance(value, tuple) else value


register_arrays(Tensor, runner)
