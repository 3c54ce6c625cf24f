"""How kernels are compiled: numba, without the interpreter lock, cached on disk where that is possible.

Nothing is compiled, and numba not imported, before a kernel is called for the first time.  Where numba is not
importable the functions of the same names in :mod:`qsm_recon.backend.plain` stand in, which is said once; a function
that has none there runs as it is written, on whole arrays, with what stands in for the functions that it calls.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import threading
import uuid
from collections.abc import Callable
from functools import cache, update_wrapper
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar, cast

import numpy as np

from qsm_recon.backend.cache_folder import cache_folder
from qsm_recon.backend.cache_upkeep import begin_use

logger = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable)

# Everything but the assumption that NaN and infinity never occur: they must stay visible.
FLOAT_FLAGS = {"contract", "nsz", "arcp", "reassoc"}
ROOMS = ("qsm_recon.backend", "qsm_recon.backend.kernels")
"""Packages whose functions have others of their names in :mod:`qsm_recon.backend.plain`."""
_LINEAR_ALGEBRA = "scipy.linalg.cython_blas"


def kernel(function: Function) -> Function:
    """Compile a function of numbers and arrays, when it is first called, to run outside the interpreter lock."""
    return cast("Function", Kernel(function, _compile_kernel))


def inline(function: Function) -> Function:
    """Compile a small scalar function that kernels call in their inner loops."""
    return cast("Function", Kernel(function, _compile_inline))


def exact(function: Function) -> Function:
    """Compile a small scalar function whose additions must keep their order; kernels may call it in inner loops."""
    return cast("Function", Kernel(function, _compile_exact))


class Kernel:
    """A function that is compiled when it is first called.

    Parameters
    ----------
    function
        What is compiled; it may call other such functions of its module.
    compiler
        Makes numba's dispatcher of it.
    """

    def __init__(self, function: Callable, compiler: Callable[[Any, Callable], Any]) -> None:
        update_wrapper(self, function)
        self.function = function
        self._compiler = compiler
        self._callable: Callable | None = None
        self.takes_arrays = compiler is _compile_kernel
        """Whether it goes through arrays; else it is of numbers, and may be given whole arrays instead."""

    def __call__(self, *arguments: Any) -> Any:
        """Run it; its twin where an argument is an array of another kind than numpy's."""
        if _other_arrays:
            for argument in arguments:
                twin = _other_arrays.get(type(argument))
                if twin is not None:
                    return twin(self)(*arguments)
        return (self._callable or self.made())(*arguments)

    def made(self) -> Callable:
        """Return what runs: numba's dispatcher, or the function that stands in for it."""
        with _making:
            if self._callable is None:
                library = load_numba()
                self._callable = _silent(self.plain()) if library is None else self._compiled(library)
            return self._callable

    def _compiled(self, library: Any) -> Any:
        """Compile; before that what the function calls, which numba looks up among its globals."""
        return self._compiler(library, self.calling(Kernel.made))

    def plain(self) -> Callable:
        """Return the function of plain numpy that does the same, array by array."""
        return plain_function(self.function) or self.calling(Kernel.plain)

    def calling(
        self, chosen: Callable[[Kernel], Callable], number: Callable[[np.generic], Any] | None = None
    ) -> Callable:
        """Return the function, with something else in place of each such function, and of each number, that it names.

        Parameters
        ----------
        chosen
            What stands for a function.
        number
            What stands for one of numpy's numbers; itself where None.
        """
        function = self.function
        known = function.__globals__
        named = {name: known[name] for name in _names(function) if name in known}
        replaced = {name: chosen(value) for name, value in named.items() if isinstance(value, Kernel)}
        if number is not None:
            replaced |= {name: number(value) for name, value in named.items() if isinstance(value, np.generic)}
        if not replaced:
            return function
        made = FunctionType(function.__code__, {**known, **replaced}, function.__name__, function.__defaults__)
        made.__qualname__, made.__doc__ = function.__qualname__, function.__doc__
        return made


def _names(function: Callable) -> tuple[str, ...]:
    names: tuple[str, ...] = function.__code__.co_names
    return names


_making = threading.RLock()
_other_arrays: dict[type, Callable[[Kernel], Callable]] = {}


def register_arrays(kind: type, twin: Callable[[Kernel], Callable]) -> None:
    """Let kernels that are called with arrays of a kind of its own run as the function that ``twin`` gives for them."""
    _other_arrays[kind] = twin


@cache
def load_numba() -> Any | None:
    """Import numba, its cache in the user's, or say once that plain numpy stands in for it."""
    folder = compiled_folder()
    if folder is not None:
        os.environ.setdefault("NUMBA_CACHE_DIR", str(folder))
        begin_use(folder)
    try:
        import numba  # which reads the variable above
    except ImportError as error:
        logger.warning("numba cannot be imported (%s): kernels run on plain numpy, which is slower", error)
        return None
    _spare_linear_algebra()
    return numba


def _spare_linear_algebra() -> None:
    """Let numba take for granted that SciPy has linear algebra, which it otherwise imports to see.

    That takes as long as the rest of numba.  No kernel here uses it; who does gets it from SciPy when it is compiled.
    """
    if _LINEAR_ALGEBRA in sys.modules:
        return
    sys.modules[_LINEAR_ALGEBRA] = None  # type: ignore[assignment]
    try:
        found: Any = import_module("numba.np.arraymath")
    finally:
        del sys.modules[_LINEAR_ALGEBRA]
    if hasattr(found, "_HAVE_BLAS"):
        found._HAVE_BLAS = find_spec("scipy") is not None


@cache
def compiled_folder() -> Path | None:
    """Where machine code is kept; None where nothing can be written."""
    return cache_folder(f"kernels/{_sources_digest()}")


def _sources_digest() -> str:
    """Digest of the sources with kernels in them: numba looks only at a kernel's own file, not at what it calls."""
    digest, here = hashlib.sha256(), Path(__file__).parent
    for path in sorted((*here.glob("*.py"), *(here / "kernels").glob("*.py"), *(here.parent / "terms").rglob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _compile_kernel(library: Any, function: Callable) -> Any:
    compiler = library.njit(cache=compiled_folder() is not None, nogil=True, fastmath=FLOAT_FLAGS, error_model="numpy")
    return _saved_where_possible(_with_own_files(compiler(function)))


def _compile_inline(library: Any, function: Callable) -> Any:
    return library.njit(inline="always", nogil=True, fastmath=FLOAT_FLAGS, error_model="numpy")(function)


def _compile_exact(library: Any, function: Callable) -> Any:
    return library.njit(nogil=True, fastmath={"contract", "nsz"}, error_model="numpy")(function)


_process = uuid.uuid4().hex[:12]


def _with_own_files(compiled: Any) -> Any:
    """Let the files of a kernel in the cache be named after this process.

    numba numbers them by an index that it has read before.  Two processes that compile a kernel for different types at
    the same time would both write number 1, and the index of one would name the machine code of the other.
    """
    file = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if file is not None:
        number = file._data_name
        file._data_name = lambda count: f"{_process}-{os.getpid()}-{number(count)}"
    return compiled


def _saved_where_possible(compiled: Any) -> Any:
    """Let a kernel be used though the cache cannot take it: a disk that has filled up costs time only, and is told."""
    store = getattr(compiled, "_cache", None)
    if store is None:
        return compiled
    save = store.save_overload

    def save_or_tell(signature: Any, data: Any) -> None:
        try:
            save(signature, data)
        except OSError as error:
            _tell_once(f"{compiled_folder()}: the cache cannot be written ({error.strerror or error})")

    store.save_overload = save_or_tell
    return compiled


@cache
def _tell_once(problem: str) -> None:
    logger.warning("%s; kernels are compiled anew by every process until it can", problem)


def plain_function(function: Callable) -> Callable | None:
    """Return the function of plain numpy of the same name as a kernel of the backend; None where there is none."""
    package, _, room = function.__module__.rpartition(".")
    if package not in ROOMS:
        return None
    found: Callable | None = getattr(import_module(f"qsm_recon.backend.plain.{room}"), function.__name__, None)
    return found


def _silent(plain: Callable) -> Callable:
    """The plain function, as silent about NaN and division by zero as a compiled one."""

    def run(*arguments: Any) -> Any:
        with np.errstate(all="ignore"):
            return plain(*arguments)

    return run
