"""The folder where compiled kernels, FFT wisdom and generated data are kept between runs."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "QSM_RECON_CACHE"


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
    root = os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("qsm_recon")
    folder = Path(root) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None
