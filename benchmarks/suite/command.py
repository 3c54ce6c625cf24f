"""How every benchmark begins and ends: its options, one line for what is wrong, nothing lost when it is interrupted."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

from qsm_recon.commands.line import EXIT_UNREAD, CommandParser, add_version_option
from qsm_recon.errors import QSMError

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
RESUMABLE = "interrupted: what is done is stored, the same command goes on from there"


class BenchmarkParser(CommandParser):
    """The options of a benchmark: errors of one line as those of the package's commands, and ``--version``."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter, **settings})
        add_version_option(self)


def guarded(action: Callable[[], int | None], interrupted: str = RESUMABLE) -> int:
    """Run a command's action and return its exit code.

    Parameters
    ----------
    action
        What the command does; None counts as 0.
    interrupted
        What is said after Ctrl-C.
    """
    try:
        code = action() or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # its reader has gone (``| head``); what is in the buffer would fail again at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_UNREAD
    except QSMError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return EXIT_INTERRUPTED
