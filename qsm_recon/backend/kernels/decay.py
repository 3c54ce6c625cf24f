"""Kernels on lists of voxels: mono-exponential decay of the multi-echo magnitude."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import kernel


@kernel
def arlo_decay_rate(
    start: int,
    stop: int,
    magnitude: NDArray[np.floating],
    simpson: NDArray[np.float64],
    spacing: float,
    highest: float,
    rate: NDArray[np.float32],
) -> int:
    """Fill ``rate`` (1/s) by auto-regression on Simpson integrals; return how many voxels were limited to [0, highest].

    ``simpson`` (triplets, 3) integrates the parabola through three neighbouring echoes.  With a positive
    ``spacing`` (s), the common echo spacing, the integration error of an exponential is undone in closed form.
    """
    limited = 0
    for v in range(start, stop):
        integral_square = 0.0
        integral_drop = 0.0
        scaled_drop_square = 0.0
        scaled_integral_drop = 0.0
        for i in range(simpson.shape[0]):
            first = float(magnitude[v, i])
            last = float(magnitude[v, i + 2])
            integral = simpson[i, 0] * first + simpson[i, 1] * float(magnitude[v, i + 1]) + simpson[i, 2] * last
            drop = first - last
            integral_square += integral * integral
            integral_drop += integral * drop
            scaled_integral_drop += simpson[i, 2] * integral * drop
            scaled_drop_square += simpson[i, 2] * drop * drop
        numerator = integral_drop + scaled_drop_square
        denominator = integral_square + scaled_integral_drop
        value = highest if numerator > 0.0 else 0.0
        if denominator > 0.0:
            value = numerator / denominator
        if spacing > 0.0 and value > 0.0:
            # (1 + 4q + q^2) / (1 - q^2) = ratio, q = exp(-rate * spacing): Simpson's rule on an exponential.
            ratio = 3.0 / (value * spacing)
            q = (math.sqrt(3.0 + ratio * ratio) - 2.0) / (1.0 + ratio)
            value = -math.log(q) / spacing if q > 0.0 else highest
        if value < 0.0 or value >= highest:
            limited += 1
        rate[v] = min(max(value, 0.0), highest)
    return limited


@kernel
def log_linear_decay_rate(
    start: int,
    stop: int,
    magnitude: NDArray[np.floating],
    echo_times: NDArray[np.float64],
    weighted: bool,
    highest: float,
    rate: NDArray[np.float32],
) -> int:
    """Fill ``rate`` (1/s), the slope of the log magnitude; return how many voxels were limited to [0, highest].

    Echoes without signal are left out; with ``weighted`` the others count by their squared magnitude, the inverse
    variance of their logarithm.
    """
    limited = 0
    for v in range(start, stop):
        total = 0.0
        time_mean = 0.0
        log_mean = 0.0
        for j in range(echo_times.size):
            m = float(magnitude[v, j])
            if m > 0.0:
                w = m * m if weighted else 1.0
                total += w
                time_mean += w * echo_times[j]
                log_mean += w * math.log(m)
        value = 0.0
        if total > 0.0:
            time_mean /= total
            log_mean /= total
            covariance = 0.0
            spread = 0.0
            for j in range(echo_times.size):
                m = float(magnitude[v, j])
                if m > 0.0:
                    w = m * m if weighted else 1.0
                    covariance += w * (echo_times[j] - time_mean) * (math.log(m) - log_mean)
                    spread += w * (echo_times[j] - time_mean) ** 2
            if spread > 0.0:
                value = -covariance / spread
        if value < 0.0 or value >= highest:
            limited += 1
        rate[v] = min(max(value, 0.0), highest)
    return limited


@kernel
def initial_magnitude(
    start: int,
    stop: int,
    magnitude: NDArray[np.floating],
    echo_times: NDArray[np.float64],
    rate: NDArray[np.float32],
    m0: NDArray[np.float32],
) -> None:
    """Fill ``m0``, the least-squares amplitude of ``exp(-rate * t)`` in the magnitudes."""
    for v in range(start, stop):
        overlap = 0.0
        power = 0.0
        for j in range(echo_times.size):
            # Relative to the first echo, so that a fast decay does not underflow.
            decay = math.exp(-float(rate[v]) * (echo_times[j] - echo_times[0]))
            overlap += decay * float(magnitude[v, j])
            power += decay * decay
        m0[v] = overlap / power * math.exp(float(rate[v]) * echo_times[0])
