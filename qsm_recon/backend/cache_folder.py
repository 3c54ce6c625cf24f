"""The folder where compiled kernels, FFT wisdom and generated data are kept between runs."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import BinaryIO

import platformdirs

CACHE_VARIABLE = "QSM_RECON_CACHE"
UNFINISHED_SUFFIX = ".part"


def cache_root() -> Path:
    """Return the user's cache folder of this package, which need not exist; ``QSM_RECON_CACHE`` names another place."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("qsm_recon"))


@cache
def cache_folder(name: str) -> Path | None:
    """Return a writable sub-folder of the user's cache, or None where there is none.

    Parameters
    ----------
    name
        Sub-folder, for example ``"fft"``.

    Returns
    -------
    Path or None
        An existing folder that this process may write to.  A missing or read-only cache is not an error: the
        caller then works without one.  ``QSM_RECON_CACHE`` names another place.
    """
    folder = cache_root() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None


def write_in_one_step(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let ``write`` fill a file of its own beside ``path``, then put it in the place of ``path``.

    Whoever reads finds the file before or after, whole.  Processes, also of several machines that share a disk, never
    write to the same file: a number of the process would not tell those apart.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left behind then.
    """
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}{UNFINISHED_SUFFIX}")
    try:
        with unfinished.open("xb") as file:
            write(file)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
