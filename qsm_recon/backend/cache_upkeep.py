"""What the cache folder holds, and keeping it within its limit: what was used least recently goes first."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qsm_recon.backend.cache_folder import UNFINISHED_SUFFIX, cache_root
from qsm_recon.errors import ParameterError

logger = logging.getLogger(__name__)

LIMIT_VARIABLE = "QSM_RECON_CACHE_GB"
DEFAULT_LIMIT_GB = 4.0
DAY_S = 86400.0
KINDS = ("phantoms", "kernels", "wisdom", "unfinished")
_KERNELS = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class CacheEntry:
    """Something kept that can be taken away by itself.

    Parameters
    ----------
    path
        A file, or the folder of the kernels of one version.
    kind
        One of ``KINDS``; ``unfinished`` is a file that is being written, or whose writer was killed.
    size_bytes
        What it takes.
    used_at
        When it was last used, in s since 1970.
    """

    path: Path
    kind: str
    size_bytes: int
    used_at: float


def cache_limit_bytes() -> float:
    """Return how much may be kept, in bytes: ``QSM_RECON_CACHE_GB`` times 1e9.

    Raises
    ------
    ParameterError
        If the variable holds something else than a number that is not negative.
    """
    text = os.environ.get(LIMIT_VARIABLE) or str(DEFAULT_LIMIT_GB)
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not limit >= 0:
        raise ParameterError(f"{LIMIT_VARIABLE}: expected a number of gigabytes, 0 or more, or inf; found '{text}'")
    return limit * 1e9


def mark_as_used(path: Path) -> None:
    """Note that an entry is used now; access times are not kept on every disk."""
    with contextlib.suppress(OSError):
        os.utime(path)


def begin_use(kernels: Path) -> None:
    """Note that a version's folder of kernels is used; a new one makes room by removing those of old versions."""
    mark_as_used(kernels)
    if not _listed(kernels, "*"):
        prune_cache()


def cache_entries() -> list[CacheEntry]:
    """Return what is kept, least recently used first.  Files of others in the same folder are none of it."""
    found = [entry for kind, path in _candidates(cache_root()) if (entry := _entry(kind, path)) is not None]
    return sorted(found, key=lambda entry: (entry.used_at, entry.path))


def _candidates(root: Path) -> Iterator[tuple[str, Path]]:
    for name, pattern, kind in (("phantom", "*.npz", "phantoms"), ("fft", "wisdom.json", "wisdom")):
        yield from ((kind, path) for path in _listed(root / name, pattern))
        yield from (("unfinished", path) for path in _listed(root / name, f"*{UNFINISHED_SUFFIX}"))
    yield from (("kernels", path) for path in _listed(root / "kernels", "*") if _KERNELS.fullmatch(path.name))


def _listed(folder: Path, pattern: str) -> list[Path]:
    """Files and folders of a folder; links are the user's own."""
    try:
        return [path for path in folder.glob(pattern) if not path.is_symlink()]
    except OSError:
        return []


def _entry(kind: str, path: Path) -> CacheEntry | None:
    """Describe a file or folder; None where another process has just removed it."""
    try:
        state = path.stat()
    except OSError:
        return None
    if kind != "kernels":
        return CacheEntry(path, kind, state.st_size, state.st_mtime)
    size = 0
    for file in path.rglob("*"):
        with contextlib.suppress(OSError):
            size += file.lstat().st_size
    return CacheEntry(path, kind, size, state.st_mtime)


def prune_cache(room_bytes: float = 0.0) -> list[CacheEntry]:
    """Remove what was used least recently until the rest, and ``room_bytes`` more, are within the limit.

    Kernels used within the last day stay, for a process may be running on them, and so does FFT wisdom, which is small.
    Files that were not finished a day after their last byte are removed whatever the limit.

    Returns
    -------
    list
        What was removed.

    Raises
    ------
    ParameterError
        If the limit is not a number, see :func:`cache_limit_bytes`.
    """
    limit, entries, yesterday = cache_limit_bytes(), cache_entries(), time.time() - DAY_S
    total = sum(entry.size_bytes for entry in entries) + room_bytes
    removed = []
    for entry in entries:
        old = entry.used_at < yesterday
        surplus = entry.kind == "phantoms" or (entry.kind == "kernels" and old)
        if (entry.kind == "unfinished" and old) or (surplus and total > limit):
            total -= entry.size_bytes
            if _remove(entry):
                logger.info("cache: %s is removed, more than %g GB would be kept", entry.path.name, limit / 1e9)
                removed.append(entry)
    return removed


def clear_cache() -> tuple[list[CacheEntry], list[CacheEntry]]:
    """Remove everything that is kept; processes that run go on without.

    Returns
    -------
    tuple
        What was removed, and what could not be.
    """
    removed: list[CacheEntry] = []
    left: list[CacheEntry] = []
    for entry in cache_entries():
        (removed if _remove(entry) else left).append(entry)
    return removed, left


def _remove(entry: CacheEntry) -> bool:
    """Remove an entry; says whether it is gone, which another process may have seen to."""
    if entry.kind == "kernels":
        shutil.rmtree(entry.path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            entry.path.unlink(missing_ok=True)
    return not entry.path.exists()
