"""One pool of threads for kernels and transforms.

Work is cut into contiguous slabs of the first image axis, as many as there are threads unless the caller fixes their
number.  Reductions are summed in slab order, so results depend on the number of threads by rounding at most.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from qsm_recon.errors import ParameterError

_threads = {"count": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)}
_pools: dict[int, ThreadPoolExecutor] = {}
if hasattr(os, "register_at_fork"):  # a forked process has none of their threads, and would wait for them
    os.register_at_fork(after_in_child=_pools.clear)


def thread_count() -> int:
    """Return how many threads kernels and transforms use; by default all cores this process may run on."""
    return _threads["count"]


def set_thread_count(count: int) -> None:
    """Choose how many threads kernels and transforms use.

    Raises
    ------
    ParameterError
        If the number is not positive.
    """
    if count < 1:
        raise ParameterError(f"threads: expected at least 1, found {count}")
    _threads["count"] = int(count)


def slab_edges(n: int, pieces: int) -> list[tuple[int, int]]:
    """Cut ``range(n)`` into at most ``pieces`` contiguous, nearly equal, non-empty slabs."""
    pieces = max(1, min(pieces, n))
    return [(n * i // pieces, n * (i + 1) // pieces) for i in range(pieces)]


def run_tasks(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run callables on the thread pool and return their results in order."""
    count = thread_count()
    if count == 1 or len(tasks) == 1:
        return [task() for task in tasks]
    pool = _pools.setdefault(count, ThreadPoolExecutor(count, thread_name_prefix="qsm_recon"))
    return [future.result() for future in [pool.submit(task) for task in tasks]]


def parallel_slabs(function: Callable[..., Any], n: int, *arguments: Any, pieces: int | None = None) -> list[Any]:
    """Call ``function(start, stop, *arguments)`` over slabs of ``range(n)`` on the thread pool.

    Parameters
    ----------
    function
        A kernel that releases the interpreter lock and touches only its slab of the outputs.
    n
        Length of the axis that is cut, usually the number of image planes.
    arguments
        Passed on unchanged.
    pieces
        Number of slabs; the thread count by default.  Fix it where results are summed.

    Returns
    -------
    list
        What each call returned, in slab order.
    """
    edges = slab_edges(n, pieces or thread_count())
    return run_tasks([partial(function, a, b, *arguments) for a, b in edges])
