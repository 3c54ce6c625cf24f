"""What engines and terms do with buffers beside calling kernels, whether they are numpy's arrays or tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def host(buffer: Any) -> NDArray:
    """Return a buffer as numpy's array: itself, or what a tensor holds."""
    return buffer if isinstance(buffer, np.ndarray) else buffer.detach().cpu().numpy()


def beside(values: NDArray, buffer: Any) -> Any:
    """Return an array of numpy's where a buffer is, to index it with."""
    if isinstance(buffer, np.ndarray):
        return values
    from qsm_recon.backend.tensors.arrays import on_device

    return on_device(values, buffer.device)


def double(buffer: Any) -> Any:
    """Return a buffer's numbers in double precision."""
    return buffer.astype(np.float64) if isinstance(buffer, np.ndarray) else buffer.double()


def square_sum(buffer: Any) -> float:
    """Σ x², in double precision."""
    if isinstance(buffer, np.ndarray):
        return float(np.sum(np.square(buffer, dtype=np.float64)))
    return float(buffer.double().square().sum())


def mean(buffer: Any) -> float:
    """Mean, in double precision."""
    return float(np.mean(buffer, dtype=np.float64) if isinstance(buffer, np.ndarray) else buffer.double().mean())


def log_sum(buffer: Any) -> float:
    """Σ log x of positive numbers; the sum is in double precision."""
    if isinstance(buffer, np.ndarray):
        return float(np.log(buffer).sum(dtype=np.float64))
    return float(buffer.log().double().sum())
