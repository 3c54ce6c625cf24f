"""What the command lines share: errors as one clean line, logging, progress."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from qsm_recon.errors import QSMError
from qsm_recon.result import Callback, IterationState

logger = logging.getLogger("qsm_recon")

EXIT_DONE = 0
EXIT_BAD_INPUT = 2
EXIT_NOT_CONVERGED = 3
SECONDS_BETWEEN_LOG_LINES = 2.0


def run_command(program: Callable[[], int]) -> int:
    """Run a command; user errors become one line on standard error and exit code 2."""
    try:
        return program()
    except QSMError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130


def set_up_logging(*, quiet: bool) -> None:
    """Log lines of this package to standard error; only warnings where quiet."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False


@contextmanager
def iteration_progress(title: str, *, quiet: bool) -> Iterator[Callback | None]:
    """Give a callback that shows progress: a bar on a terminal, a log line now and then elsewhere."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(desc=title, unit="it", leave=False) as bar:

            def advance(state: IterationState) -> None:
                bar.total = state.max_iterations
                bar.set_postfix(objective=f"{state.values.get('objective', float('nan')):.6g}", refresh=False)
                bar.update(state.iteration - bar.n)

            yield advance
    else:
        last = time.monotonic()

        def report(state: IterationState) -> None:
            nonlocal last
            if time.monotonic() - last >= SECONDS_BETWEEN_LOG_LINES:
                last = time.monotonic()
                logger.info(
                    "%s: iteration %d, objective %.6g",
                    title,
                    state.iteration,
                    state.values.get("objective", float("nan")),
                )

        yield report
