"""Independent jobs in parallel: the only place that imports Dask."""

from __future__ import annotations

import heapq
import itertools
import logging
import os
from collections.abc import Callable
from typing import Any

from qsm_recon.errors import ParameterError, ResourceError

Outcome = Any
GIB = 2**30
SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # what killed one worker would kill the next
    "distributed.scheduler.worker-ttl": None,  # a computer that slept, or a process that was stopped, is not dead
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",  # jobs take seconds to minutes; processor time is theirs
    "distributed.admin.tick.limit": "1h",
    "distributed.worker.memory.monitor-interval": "1s",
    "distributed.comm.timeouts.connect": "120s",  # processes start slowly on a busy machine
    # What goes wrong is in the records; workers read their own level from the environment, before they are told ours.
    "logging": {"distributed": "critical"},
    "distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "critical",
}


class Here:
    """Jobs in this process, one after the other, the most urgent first."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, str, Callable[[], Any]]] = []
        self._count = itertools.count()

    def submit(self, key: str, function: Callable[..., Any], *arguments: Any, priority: float = 0.0) -> None:
        """Take a job in."""
        heapq.heappush(self._waiting, (-priority, next(self._count), key, lambda: function(*arguments)))

    def next(self) -> tuple[str, Any]:
        """Run the next job; its key and result."""
        _, _, key, call = heapq.heappop(self._waiting)
        return key, call()

    def close(self) -> None:
        """Forget the jobs that wait."""
        self._waiting.clear()


class Workers:
    """Jobs on Dask workers, one job a process.

    Parameters
    ----------
    count
        Processes to start here.
    memory_gib
        Most memory of each; one that takes more is ended, and its job fails.
    address
        Of a scheduler that runs already; then nothing is started here.

    Raises
    ------
    ResourceError
        If there is no scheduler at the address.
    """

    def __init__(self, count: int, memory_gib: float | None = None, address: str | None = None) -> None:
        import dask
        from distributed import Client, LocalCluster, as_completed

        dask.config.set(SETTINGS)
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        self._cluster = None
        if address is None:
            limit = "auto" if memory_gib is None else int(memory_gib * GIB)
            self._cluster = LocalCluster(
                n_workers=count, threads_per_worker=1, processes=True, memory_limit=limit, dashboard_address=":0"
            )
            self._client = Client(self._cluster)
        else:
            try:
                self._client = Client(address, timeout=20)
            except (OSError, TimeoutError, ValueError) as error:
                raise ResourceError(
                    f"scheduler {address}: it does not answer; start one, or leave the address out"
                ) from error
        self._keys: dict[Any, str] = {}
        self._done = as_completed(with_results=False)

    def submit(self, key: str, function: Callable[..., Any], *arguments: Any, priority: float = 0.0) -> None:
        """Take a job in."""
        future = self._client.submit(function, *arguments, key=f"job-{key}", priority=priority, pure=False)
        self._keys[future] = key
        self._done.add(future)

    def next(self) -> tuple[str, Any]:
        """Wait for a job; its key, and its result or what was raised."""
        future = next(self._done)
        key = self._keys.pop(future)
        error = future.exception()
        return key, future.result() if error is None else error

    def close(self) -> None:
        """End the workers that were started here, and their jobs."""
        for future in self._keys:
            future.cancel()
        self._client.close()
        if self._cluster is not None:
            self._cluster.close(timeout=10)


def open_workers(workers: int, memory_gib: float | None, address: str | None) -> Here | Workers:
    """Start what runs jobs; with no workers and no address, this process does."""
    return Here() if workers == 0 and address is None else Workers(workers, memory_gib, address)


def worker_count(asked: int | None, threads: int, needed_gib: float, available_gib: float) -> int:
    """Processes that cores and memory allow; at least one.

    Parameters
    ----------
    asked
        As many as the user wants; None for as many as fit.
    threads
        Of each.
    needed_gib
        Memory of the largest job.
    available_gib
        Memory there is.

    Raises
    ------
    ParameterError
        If the number of workers is negative, or that of threads not positive.
    """
    if asked is not None and asked < 0:
        raise ParameterError(f"--workers: expected 0 or more, found {asked}")
    if threads < 1:
        raise ParameterError(f"--threads: expected at least 1, found {threads}")
    if asked == 0:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    wanted = max(1, cores // threads) if asked is None else asked
    return max(1, min(wanted, int(available_gib // needed_gib) if needed_gib > 0 else wanted))
