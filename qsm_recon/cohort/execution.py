"""Handing runs to workers, and taking in what comes back, whatever happens to the workers."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from qsm_recon.cohort.record import FAILED, Record
from qsm_recon.cohort.scheduling import address_of
from qsm_recon.cohort.worker import Task, deaths, perform
from qsm_recon.errors import QSMError, ResourceError

if TYPE_CHECKING:
    from distributed import Client

MOST_DEATHS = 3
"""Attempts at a run that may end with its worker killed."""
MOST_SUBMISSIONS = 10
"""Times that a run is handed out at most: it may have waited at a worker that another run brought down."""


def perform_all(client: Client, tasks: Sequence[Task], at_once: Callable[[], int]) -> Iterator[Record]:
    """Do runs on the workers of a client and give what became of each as soon as it is known.

    No more are handed out than workers can take, so that a worker which dies takes no others with it.  A run whose
    worker dies is tried again, ``MOST_DEATHS`` times in all.

    Parameters
    ----------
    client
        Connected to workers.
    tasks
        The runs.
    at_once
        Tells how many to hand out at once.

    Raises
    ------
    ResourceError
        If the scheduler goes away.
    """
    from distributed import as_completed

    waiting, submitted = deque(tasks), Counter[str]()
    flying: dict[Any, Task] = {}
    arriving = as_completed([])

    def hand_out() -> None:
        while waiting and len(flying) < at_once():
            task = waiting.popleft()
            submitted[task.name] += 1
            future = client.submit(perform, task, key=f"{task.name}-{submitted[task.name]}", pure=False)
            flying[future] = task
            arriving.add(future)

    hand_out()
    while flying:
        future = next(arriving)
        task = flying.pop(future)
        record = _outcome(client, future, task, again=submitted[task.name] < MOST_SUBMISSIONS)
        if record is None:
            waiting.append(task)
        else:
            yield record
        del future
        hand_out()


def _outcome(client: Client, future: Any, task: Task, *, again: bool) -> Record | None:
    """What became of a run; None where it is to be tried again."""
    from distributed import KilledWorker

    if future.status == "cancelled":
        raise ResourceError(f"the scheduler {address_of(client)} went away")
    error = future.exception()
    if error is None:
        record: Record = future.result()
        return record
    if isinstance(error, KilledWorker):
        died = deaths(task.out, task.name)
        if again and died < MOST_DEATHS:
            return None
        reason = (
            f"its worker was killed {died} times; the commonest causes are too little memory (give fewer --workers) "
            "and the time limit of a job (--slurm-time)"
        )
        return _failed(task, reason)
    return _failed(task, " ".join(f"{type(error).__name__}: {error}".split()))


def _failed(task: Task, reason: str) -> Record:
    record = task.record(FAILED, reason=reason)
    try:
        record.write(task.out)
    except QSMError as error:  # a full disk, most likely: the run is listed all the same
        return task.record(FAILED, reason=f"{reason}; {error}")
    return record
