"""Phantoms kept in the user's cache folder, one file each, written atomically."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.cache_folder import cache_folder
from qsm_recon.datasets.phantom.parameters import PHANTOM_VERSION

logger = logging.getLogger(__name__)

Arrays = dict[str, NDArray[Any]]


def key(stage: str, values: Mapping[str, object]) -> str:
    """File name for a stage: readable, and different whenever the version or any parameter is."""
    text = repr((PHANTOM_VERSION, stage, sorted(values.items())))
    return f"{stage}-v{PHANTOM_VERSION}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"


def cached(stage: str, values: Mapping[str, object], compute: Callable[[], Arrays], enabled: bool = True) -> Arrays:
    """Return the arrays of a stage from the cache, or compute and keep them.

    A missing, read-only or full cache is not an error, nor is a damaged file: the arrays are then computed.
    """
    folder = cache_folder("phantom") if enabled else None
    if folder is None:
        return compute()
    path = folder / key(stage, values)
    arrays = _read(path)
    if arrays is None:
        arrays = compute()
        _write(path, arrays)
    return arrays


def _read(path: Path) -> Arrays | None:
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        logger.info("the cached phantom %s is damaged (%s) and will be computed again", path, error)
        return None


def _write(path: Path, arrays: Arrays) -> None:
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            temporary = Path(file.name)
            np.savez(file, **arrays)  # type: ignore[arg-type]
        temporary.replace(path)
    except OSError as error:
        logger.info("the phantom could not be kept in %s: %s", path.parent, error)
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def cached_files() -> list[Path]:
    """Return the phantom files in the cache, oldest first."""
    folder = cache_folder("phantom")
    return sorted(folder.glob("*.npz"), key=os.path.getmtime) if folder else []
