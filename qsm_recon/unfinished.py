"""Names of what is being written, and the end of what a killed process left of it."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

PREFIX = ".unfinished-"


def unfinished_prefix() -> str:
    """Start of the name of a file or folder that this process fills before it gets its own name."""
    return f"{PREFIX}{machine()}-{os.getpid()}-"


def clear_abandoned(folder: Path) -> None:
    """Remove what processes of this machine that live no more have left unfinished in a folder.

    Those of other machines, which may share the disk, are left alone.

    Parameters
    ----------
    folder
        Where results are written.
    """
    for path in folder.glob(f"{PREFIX}{machine()}-*"):
        number = path.name.removeprefix(f"{PREFIX}{machine()}-").partition("-")[0]
        if not number.isdecimal() or lives(machine(), number):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def lives(host: str, number: str) -> bool:
    """Whether a process, known by machine and number, is known to live: of other machines nothing is known."""
    import psutil

    return host == machine() and number.isdecimal() and psutil.pid_exists(int(number))


def machine() -> str:
    """The machine's name, without what a pattern would take for its own."""
    return "".join(letter if letter.isalnum() else "_" for letter in socket.gethostname())
