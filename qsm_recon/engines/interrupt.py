"""A clean Ctrl-C: the iteration in hand is finished, then the solver returns what it has."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Tells whether the user asked to stop."""

    requested = False


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Turn the first Ctrl-C into a request to stop; a second one raises KeyboardInterrupt as usual.

    It stays as it is in other threads than the main one, which get no signals; where it is ignored, as in jobs that a
    shell runs in the background; and where a program that Python is embedded in handles it, which could not be undone.
    """
    state = Interruption()
    elsewhere = threading.current_thread() is not threading.main_thread()
    if elsewhere or signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
        yield state
        return

    def handle(_number: int, _frame: FrameType | None) -> None:
        if state.requested:
            raise KeyboardInterrupt
        state.requested = True

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield state
    finally:
        signal.signal(signal.SIGINT, previous)
