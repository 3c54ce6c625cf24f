"""How kernels are compiled: numba, without the interpreter lock, cached on disk where that is possible."""

from __future__ import annotations

import hashlib
import logging
import os
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from qsm_recon.backend.cache_folder import cache_folder
from qsm_recon.backend.cache_upkeep import begin_use


def _sources_digest() -> str:
    """Digest of the sources of this room: numba looks only at a kernel's own file, not at what it calls."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


_compiled_folder = cache_folder(f"kernels/{_sources_digest()}")
if _compiled_folder is not None:
    os.environ.setdefault("NUMBA_CACHE_DIR", str(_compiled_folder))
    begin_use(_compiled_folder)

import numba  # noqa: E402  (numba reads the variable above when it is imported)

logger = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable)

# Everything but the assumption that NaN and infinity never occur: they must stay visible.
FLOAT_FLAGS = {"contract", "nsz", "arcp", "reassoc"}


def kernel(function: Function) -> Function:
    """Compile a function of numbers and arrays to machine code that runs outside the interpreter lock."""
    compiler = numba.njit(cache=_compiled_folder is not None, nogil=True, fastmath=FLOAT_FLAGS, error_model="numpy")
    return cast("Function", _saved_where_possible(_with_own_files(compiler(function))))


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
            _tell_once(f"{_compiled_folder}: the cache cannot be written ({error.strerror or error})")

    store.save_overload = save_or_tell
    return compiled


@cache
def _tell_once(problem: str) -> None:
    logger.warning("%s; kernels are compiled anew by every process until it can", problem)


def inline(function: Function) -> Function:
    """Compile a small scalar function that kernels call in their inner loops."""
    compiler = numba.njit(inline="always", nogil=True, fastmath=FLOAT_FLAGS, error_model="numpy")
    return cast("Function", compiler(function))


def exact(function: Function) -> Function:
    """Compile a small scalar function whose additions must keep their order; kernels may call it in inner loops."""
    return cast("Function", numba.njit(nogil=True, fastmath={"contract", "nsz"}, error_model="numpy")(function))
