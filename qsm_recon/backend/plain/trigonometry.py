"""Whole arrays for :mod:`qsm_recon.backend.trigonometry`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def sine_cosine(x: Any) -> tuple[NDArray, NDArray]:
    """See the scalar."""
    return np.sin(x), np.cos(x)
