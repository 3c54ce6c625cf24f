"""Ctrl-C while a command still imports what it needs: one line and exit code 130, as later on."""

from __future__ import annotations

import sys
from pathlib import PurePath
from types import TracebackType

EXIT_INTERRUPTED = 130
NOTHING_WRITTEN = "interrupted; nothing was written"


def runs_as_program() -> bool:
    """Whether this process is a command of the package; asked while that is imported.

    Python calls a program of ``-m`` by that name until it has found it.
    """
    words = getattr(sys, "argv", None) or [""]
    if words[0] == "-m":
        return any(word.removeprefix("-m").split(".")[0] == "qsm_recon" for word in sys.orig_argv[1:])
    return PurePath(words[0]).stem == "qsm-recon"


def end_by_one_line() -> None:
    """Let Ctrl-C that nothing catches end this process by one line."""
    sys.excepthook = _end


def _end(kind: type[BaseException], value: BaseException, traceback: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, value, traceback)
        return
    sys.stderr.write(f"{NOTHING_WRITTEN}\n")
    sys.exit(EXIT_INTERRUPTED)
