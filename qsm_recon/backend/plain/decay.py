"""Plain numpy for :mod:`qsm_recon.backend.kernels.decay`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.plain.arrays import pieces


def arlo_decay_rate(
    start: int, stop: int, magnitude: NDArray, simpson: NDArray, spacing: float, highest: float, rate: NDArray
) -> int:
    """See the kernel."""
    limited, triplets = 0, simpson.shape[0]
    for piece in pieces(start, stop):
        signal = magnitude[piece].astype(np.float64)
        first, last = signal[:, :triplets], signal[:, 2 : triplets + 2]
        integral = simpson[:, 0] * first + simpson[:, 1] * signal[:, 1 : triplets + 1] + simpson[:, 2] * last
        drop = first - last
        numerator = (integral * drop + simpson[:, 2] * drop * drop).sum(axis=1)
        denominator = (integral * integral + simpson[:, 2] * integral * drop).sum(axis=1)
        value = np.where(denominator > 0, numerator / denominator, np.where(numerator > 0, highest, 0.0))
        if spacing > 0:
            # See the kernel: Simpson's rule on an exponential.
            ratio = 3.0 / (value * spacing)
            q = (np.sqrt(3.0 + ratio * ratio) - 2.0) / (1.0 + ratio)
            value = np.where(value > 0, np.where(q > 0, -np.log(q) / spacing, highest), value)
        limited += _store(value, highest, rate[piece])
    return limited


def log_linear_decay_rate(
    start: int, stop: int, magnitude: NDArray, echo_times: NDArray, weighted: bool, highest: float, rate: NDArray
) -> int:
    """See the kernel."""
    limited = 0
    for piece in pieces(start, stop):
        signal = magnitude[piece].astype(np.float64)
        there = signal > 0
        weight = np.where(there, signal * signal if weighted else 1.0, 0.0)
        logarithm = np.log(np.where(there, signal, 1.0))
        total = weight.sum(axis=1)
        time = echo_times - ((weight * echo_times).sum(axis=1) / total)[:, None]
        level = logarithm - ((weight * logarithm).sum(axis=1) / total)[:, None]
        covariance, spread = (weight * time * level).sum(axis=1), (weight * time * time).sum(axis=1)
        limited += _store(np.where((total > 0) & (spread > 0), -covariance / spread, 0.0), highest, rate[piece])
    return limited


def _store(value: NDArray, highest: float, rate: NDArray) -> int:
    rate[:] = np.minimum(np.maximum(value, 0.0), highest)
    return int(np.count_nonzero((value < 0) | (value >= highest)))


def initial_magnitude(
    start: int, stop: int, magnitude: NDArray, echo_times: NDArray, rate: NDArray, m0: NDArray
) -> None:
    """See the kernel."""
    for piece in pieces(start, stop):
        slope = rate[piece].astype(np.float64)[:, None]
        decay = np.exp(-slope * (echo_times - echo_times[0]))
        level = (decay * magnitude[piece].astype(np.float64)).sum(axis=1) / (decay * decay).sum(axis=1)
        m0[piece] = level * np.exp(slope[:, 0] * echo_times[0])
