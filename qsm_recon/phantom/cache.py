"""Phantoms kept in the user's cache folder, one file each, written in one step."""

from __future__ import annotations

import hashlib
import logging
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.cache_folder import cache_folder, write_in_one_step
from qsm_recon.backend.cache_upkeep import LIMIT_VARIABLE, cache_limit_bytes, mark_as_used, prune_cache
from qsm_recon.phantom.parameters import PHANTOM_VERSION

logger = logging.getLogger(__name__)

Arrays = dict[str, NDArray[Any]]


def key(stage: str, values: Mapping[str, object]) -> str:
    """File name for a stage: readable, and different whenever the version or any parameter is."""
    text = repr((PHANTOM_VERSION, stage, sorted(values.items())))
    return f"{stage}-v{PHANTOM_VERSION}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"


def cached(stage: str, values: Mapping[str, object], compute: Callable[[], Arrays], enabled: bool = True) -> Arrays:
    """Return the arrays of a stage from the cache, or compute and keep them.

    A missing, read-only or full cache is not an error, nor is a damaged file: the arrays are then computed.  What was
    used least recently makes room for them, see :func:`qsm_recon.backend.cache_upkeep.prune_cache`.

    Raises
    ------
    ParameterError
        If the limit of the cache is not a number.
    """
    folder = cache_folder("phantom") if enabled else None
    if folder is None:
        return compute()
    limit = cache_limit_bytes()  # said before the work, where it is wrong
    path = folder / key(stage, values)
    arrays = _read(path)
    if arrays is None:
        arrays = compute()
        _keep(path, arrays, limit)
    return arrays


def _read(path: Path) -> Arrays | None:
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError:  # another process has just removed it
        return None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        logger.info("the cached phantom %s is damaged (%s) and will be computed again", path, error)
        return None
    mark_as_used(path)
    return arrays


def _keep(path: Path, arrays: Arrays, limit_bytes: float) -> None:
    size = sum(array.nbytes for array in arrays.values())
    if size > limit_bytes:
        logger.info("the phantom is not kept: its %.3g GB are over %s", size / 1e9, LIMIT_VARIABLE)
        return
    prune_cache(size)
    try:
        write_in_one_step(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
    except OSError as error:
        logger.info("the phantom could not be kept in %s: %s", path.parent, error)


def cached_files() -> list[Path]:
    """Return the phantom files in the cache, least recently used first."""
    folder = cache_folder("phantom")
    return sorted(folder.glob("*.npz"), key=os.path.getmtime) if folder else []
