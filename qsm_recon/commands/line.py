"""What the command lines share: a parser, errors as one clean line, logging, progress."""

from __future__ import annotations

import argparse
import errno
import gc
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

from qsm_recon.errors import QSMError, ResourceError, did_you_mean
from qsm_recon.interruption import EXIT_INTERRUPTED, NOTHING_WRITTEN
from qsm_recon.result import Callback, IterationState
from qsm_recon.version import __version__

logger = logging.getLogger("qsm_recon")

EXIT_DONE = 0
EXIT_BAD_INPUT = 2
EXIT_NOT_CONVERGED = 3
EXIT_UNREAD = 141
"""What a shell reports of a program whose reader has gone."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of a device that takes nothing more."""
NO_WAY = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.ESTALE, errno.EROFS)
"""Errors of paths that a user gave: folders of others, names that no file can have."""
COLLECTIONS = 50_000, 20, 20
"""New objects, and collections, before the collector of cycles looks at each generation: importing makes many objects
and no cycles, and by the usual thresholds a tenth of a short run goes into looking."""
SECONDS_BETWEEN_LOG_LINES = 2.0


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and that suggests near matches of unknown options.

    Options must be written out: an abbreviation in a recorded command could mean something else one day.  No path is
    empty: that of an unset shell variable would be the current folder.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)
        self.register("type", Path, _path)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line and exit."""
        unknown = message.partition("unrecognized arguments: ")[2].split()
        if unknown:
            message = f"unknown argument {unknown[0]}"
            suggestion = did_you_mean(unknown[0].partition("=")[0], self._option_string_actions)
            if unknown[0].startswith("--") and suggestion.startswith("; did"):
                message += suggestion.partition(" (known")[0]
        print(f"error: {message}; --help shows what there is", file=sys.stderr)
        raise SystemExit(EXIT_BAD_INPUT)


def _path(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError(f"found '{text}', expected a path; is a shell variable unset?")
    return Path(text)


def run_as_program(main: Callable[[], int]) -> NoReturn:
    """Run a command as a process of its own.  Where its reader has gone (``| head``) it ends without a word."""
    code: Any
    gc.set_threshold(*COLLECTIONS)
    try:
        try:
            code = main()
        except SystemExit as stop:  # the option parser's way to end
            code = stop.code
        for stream in _streams():
            stream.flush()
    except BrokenPipeError:
        code = EXIT_UNREAD
        _let_go_of_streams()
    except OSError as error:
        # A stream without a buffer has nothing left that would tell which it was.
        if not _let_go_of_streams() and error.errno not in NO_ROOM:
            raise
        with suppress(OSError):
            what = error.filename or "the output"
            print(f"error: {what}: cannot be written ({error.strerror})", file=sys.stderr, flush=True)
        code = EXIT_BAD_INPUT
    gc.freeze()  # the memory goes back as a whole; to look through all that was imported once more takes longer
    sys.exit(code)


def _let_go_of_streams() -> bool:
    """Turn streams that take nothing to where all is lost, and tell whether there was one.

    What is left in their buffers would be written at the interpreter's end, which would fail again.
    """
    broken = False
    for stream in _streams():
        try:
            stream.flush()
        except OSError:
            broken = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return broken


def _streams() -> list[TextIO]:
    """Standard output and error, those that are open."""
    return [stream for stream in (sys.stdout, sys.stderr) if stream is not None]


def add_version_option(parser: argparse.ArgumentParser | argparse._ArgumentGroup, more: str = "") -> None:
    """Add ``--version``, which says the package's version, and what more a command has to say."""
    parser.add_argument("--version", action="version", version=f"qsm_recon {__version__}{more}", help="say the version")


def require_writable(folder: Path, name: str, choose: str) -> None:
    """Check, before anything is computed, that a folder can be written, or made.

    Parameters
    ----------
    folder
        Where results go.
    name, choose
        What to call it in the error, and what to do.

    Raises
    ------
    ResourceError
        If it cannot.
    """
    existing = folder.absolute()
    try:
        while not existing.exists():
            existing = existing.parent
    except OSError as error:  # in a folder of another user, or a name that is too long
        raise ResourceError(f"{name}: cannot be used ({error.strerror}); {choose}") from error
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise ResourceError(f"{name}: '{existing}' is not a folder that can be written; {choose}")


def run_command(program: Callable[[], int], *, quiet: bool = False, interrupted: str = NOTHING_WRITTEN) -> int:
    """Run a command with log lines on standard error; user errors become one line there and exit code 2.

    Parameters
    ----------
    program
        Does the work and returns the exit code.
    quiet
        Only warnings.
    interrupted
        What to say on Ctrl-C.
    """
    with logging_to_stderr(quiet=quiet):
        try:
            return program()
        except QSMError as error:
            print("error:", " ".join(str(error).split()), file=sys.stderr)
        except MemoryError:
            print("error: out of memory; close other programs or use a machine with more", file=sys.stderr)
        except OSError as error:
            if error.filename is None or error.errno not in NO_WAY:
                raise
            print(f"error: {error.filename}: cannot be used ({error.strerror}); give another path", file=sys.stderr)
        except KeyboardInterrupt:
            print(interrupted, file=sys.stderr)
            return EXIT_INTERRUPTED
    return EXIT_BAD_INPUT


@contextmanager
def logging_to_stderr(*, quiet: bool) -> Iterator[None]:
    """Send log lines of this package to standard error; only warnings where quiet."""
    before = logger.handlers[:], logger.level, logger.propagate
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.handlers[:], logger.level, logger.propagate = before


class _Collector(logging.Handler):
    """Keeps the text of warnings."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.texts.append(record.getMessage())


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Give a list that fills with the warnings that this package logs, wherever else they go."""
    texts: list[str] = []
    handler = _Collector(texts)
    logger.addHandler(handler)
    try:
        yield texts
    finally:
        logger.removeHandler(handler)


@contextmanager
def iteration_progress(title: str, *, quiet: bool) -> Iterator[Callback | None]:
    """Give a callback that shows progress: a bar on a terminal, a log line now and then elsewhere."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        from tqdm import tqdm
        from tqdm.contrib.logging import logging_redirect_tqdm

        with logging_redirect_tqdm([logger]), tqdm(desc=title, unit="it", leave=False, delay=0.5) as bar:

            def advance(state: IterationState) -> None:
                bar.total = state.max_iterations
                bar.set_postfix_str(_values(state), refresh=False)
                bar.update(state.iteration - bar.n)

            yield advance
    else:
        last = time.monotonic()

        def report(state: IterationState) -> None:
            nonlocal last
            if time.monotonic() - last >= SECONDS_BETWEEN_LOG_LINES:
                last = time.monotonic()
                logger.info("%s: iteration %d of at most %d%s", title, state.iteration, state.max_iterations,
                            f", {text}" if (text := _values(state)) else "")  # fmt: skip

        yield report


def _values(state: IterationState) -> str:
    """The objective, where an engine monitors one."""
    return f"objective {state.values['objective']:.6g}" if "objective" in state.values else ""
