"""Where solvers compute: the compiled kernels on this machine's cores, or torch on one of its devices.

As the number of threads it is a setting of the process; solvers and engines do not know which it is.  torch is
imported only where a device needs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from qsm_recon.errors import MissingDependencyError, ParameterError, ResourceError

CPU = "cpu"
TORCH_CPU = "torch:cpu"
"""torch on the cores, which is slower than the kernels: for tests."""
OUT_OF_MEMORY = "OutOfMemoryError"
"""Name of torch's error, which is told by its name so that torch need not be there."""
_CUDA = re.compile(r"cuda(:\d+)?")
_process = {"device": CPU}
_here: ContextVar[str | None] = ContextVar("device", default=None)


def device_name() -> str:
    """Return where solvers compute: ``"cpu"`` unless another device was chosen."""
    return _here.get() or _process["device"]


def set_device(name: str) -> None:
    """Choose where solvers of this process compute.

    Parameters
    ----------
    name
        ``"cpu"``: compiled kernels and pyFFTW.  ``"cuda"`` or ``"cuda:N"``: torch on a graphics processor;
        ``"torch:cpu"``: torch on the cores.

    Raises
    ------
    ParameterError
        If there is no such name.
    MissingDependencyError
        If torch is not installed.
    ResourceError
        If the device is not there.
    """
    require_device(name)
    _process["device"] = name


@contextmanager
def on_device(name: str | None) -> Iterator[None]:
    """Let solvers compute on a device for a while, in this thread; None leaves it as it is.

    Raises
    ------
    ParameterError, MissingDependencyError, ResourceError
        See :func:`set_device`; the last one, too, where the device's memory does not do.
    """
    if name is not None:
        require_device(name)
    token = _here.set(name or _here.get())
    try:
        yield
    except RuntimeError as error:
        if type(error).__name__ != OUT_OF_MEMORY:
            raise
        problem = str(error).partition("\n")[0]
        raise ResourceError(f"device {device_name()}: {problem}; free some of it, or choose device cpu") from error
    finally:
        _here.reset(token)


def require_device(name: str) -> None:
    """Make sure of a device; errors are those of :func:`set_device`."""
    if name == CPU:
        return
    tensor_device = torch_name(name)
    try:
        from qsm_recon.backend.tensors.devices import require_device as require_tensor_device
    except ImportError as error:
        if error.name != "torch":
            raise
        raise MissingDependencyError(
            f"device {name} needs torch, which is not installed; install qsm_recon[torch], or choose device cpu"
        ) from error
    require_tensor_device(tensor_device)


def torch_name(name: str) -> str:
    """Name that torch has for a device other than ``"cpu"``.

    Raises
    ------
    ParameterError
        If there is no such name.
    """
    if name == TORCH_CPU:
        return CPU
    if not isinstance(name, str) or not _CUDA.fullmatch(name):
        raise ParameterError(f"device: expected cpu, cuda, cuda:N or {TORCH_CPU}, found '{name}'")
    return name
