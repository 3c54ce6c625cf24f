"""Kernels on lists of voxels: frequency and initial phase from multi-echo phase.

Every array holds one voxel per row and, for signals, one echo per column.  Arithmetic is float64 whatever the
arrays hold: a phase of many turns needs the digits.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import inline, kernel

TWO_PI = 2.0 * math.pi


@inline
def _wrapped(angle: float) -> float:
    """Return the angle (rad) brought to [-pi, pi]."""
    return angle - TWO_PI * np.rint(angle / TWO_PI)


@inline
def _sine_over_angle(angle: float) -> float:
    return 1.0 - angle * angle / 6.0 if abs(angle) < 1e-4 else math.sin(angle) / angle


@kernel
def pair_frequency(
    start: int,
    stop: int,
    magnitude: NDArray[np.floating],
    phase: NDArray[np.floating],
    pairs: NDArray[np.intp],
    spacing: float,
    frequency: NDArray[np.floating],
) -> None:
    """Fill ``frequency`` (Hz) from the summed conjugate products of echo pairs ``spacing`` (s) apart.

    The angle of the sum is the magnitude-weighted circular mean of the phase differences.
    """
    for v in range(start, stop):
        real = 0.0
        imaginary = 0.0
        for p in range(pairs.shape[0]):
            first, second = pairs[p, 0], pairs[p, 1]
            weight = float(magnitude[v, first]) * float(magnitude[v, second])
            difference = float(phase[v, second]) - float(phase[v, first])
            real += weight * math.cos(difference)
            imaginary += weight * math.sin(difference)
        frequency[v] = math.atan2(imaginary, real) / (TWO_PI * spacing)


@kernel
def fit_frequency(
    start: int,
    stop: int,
    magnitude: NDArray[np.floating],
    phase: NDArray[np.floating],
    echo_times: NDArray[np.float64],
    group: NDArray[np.intp],
    window_hz: float,
    grid_points: int,
    tolerance_rad: float,
    max_iterations: int,
    frequency: NDArray[np.float64],
    intercept: NDArray[np.float64],
    information: NDArray[np.float64],
    misfit: NDArray[np.float64],
) -> int:
    """Fit frequency and one phase intercept per group of echoes; return how many voxels did not converge.

    Minimises ``sum_j w_j (1 - cos r_j)``, ``w_j = |S_j|^2``, ``r_j = phase_j - intercept_g(j) - 2 pi f t_j``.
    For a given f the best intercepts are the angles of ``A_g(f) = sum_{j in g} w_j exp(i (phase_j - 2 pi f t_j))``,
    so the best f maximises ``sum_g |A_g(f)|``: first on a grid of ``grid_points`` over ``window_hz`` around the
    start found in ``frequency``, then by iteratively reweighted linear regression of the unwrapped residual phase.
    The weights ``w_j sin(r_j)/r_j`` give the sharpest quadratic that lies above ``w_j (1 - cos r_j)`` on one turn
    and touches it at r_j, so that no step increases the cost.

    Outputs: ``frequency`` (Hz), ``intercept`` (rad, one column per group), ``information`` (inverse variance of
    2 pi f for unit noise of the real and imaginary channel; 0 where f is not determined) and ``misfit``, twice
    the minimum (units of magnitude squared).
    """
    echoes = echo_times.size
    groups = intercept.shape[1]
    weight = np.empty(echoes)
    real = np.empty(echoes)
    imaginary = np.empty(echoes)
    step_cosine = np.empty(echoes)
    step_sine = np.empty(echoes)
    sums = np.empty((groups, 5))
    shift = np.empty(groups)
    span = echo_times[echoes - 1] - echo_times[0]
    step_hz = window_hz / grid_points
    for j in range(echoes):
        step_cosine[j] = math.cos(TWO_PI * step_hz * echo_times[j])
        step_sine[j] = -math.sin(TWO_PI * step_hz * echo_times[j])
    unconverged = 0

    for v in range(start, stop):
        total = 0.0
        for j in range(echoes):
            weight[j] = float(magnitude[v, j]) ** 2
            total += weight[j]

        # Grid search: rotate all echoes by one step of frequency at a time.
        first_hz = frequency[v] - 0.5 * window_hz
        for j in range(echoes):
            angle = phase[v, j] - TWO_PI * first_hz * echo_times[j]
            real[j] = weight[j] * math.cos(angle)
            imaginary[j] = weight[j] * math.sin(angle)
        best = -1.0
        best_point = 0
        for point in range(grid_points + 1):
            for g in range(groups):
                sums[g, 0] = 0.0
                sums[g, 1] = 0.0
            for j in range(echoes):
                sums[group[j], 0] += real[j]
                sums[group[j], 1] += imaginary[j]
                turned = real[j] * step_cosine[j] - imaginary[j] * step_sine[j]
                imaginary[j] = real[j] * step_sine[j] + imaginary[j] * step_cosine[j]
                real[j] = turned
            value = 0.0
            for g in range(groups):
                value += math.sqrt(sums[g, 0] ** 2 + sums[g, 1] ** 2)
            if value > best:
                best = value
                best_point = point
        f = first_hz + best_point * step_hz

        for g in range(groups):
            sums[g, 0] = 0.0
            sums[g, 1] = 0.0
        for j in range(echoes):
            angle = phase[v, j] - TWO_PI * f * echo_times[j]
            sums[group[j], 0] += weight[j] * math.cos(angle)
            sums[group[j], 1] += weight[j] * math.sin(angle)
        for g in range(groups):
            intercept[v, g] = math.atan2(sums[g, 1], sums[g, 0])

        converged = total == 0.0
        for _ in range(max_iterations):
            if converged:
                break
            sums[:] = 0.0
            for j in range(echoes):
                g = group[j]
                t = echo_times[j]
                r = _wrapped(phase[v, j] - intercept[v, g] - TWO_PI * f * t)
                w = weight[j] * _sine_over_angle(r)
                sums[g, 0] += w
                sums[g, 1] += w * t
                sums[g, 2] += w * t * t
                sums[g, 3] += w * r
                sums[g, 4] += w * t * r
            slope_numerator = 0.0
            slope_denominator = 0.0
            for g in range(groups):
                if sums[g, 0] > 0.0:
                    slope_numerator += sums[g, 4] - sums[g, 1] * sums[g, 3] / sums[g, 0]
                    slope_denominator += sums[g, 2] - sums[g, 1] * sums[g, 1] / sums[g, 0]
            if slope_denominator <= 1e-12 * total * span * span:
                break
            slope = slope_numerator / slope_denominator
            largest_shift = abs(slope) * span
            for g in range(groups):
                if sums[g, 0] > 0.0:
                    shift[g] = (sums[g, 3] - slope * sums[g, 1]) / sums[g, 0]
                    intercept[v, g] += shift[g]
                    largest_shift = max(largest_shift, abs(shift[g] + slope * echo_times[0]))
            f += slope / TWO_PI
            converged = largest_shift < tolerance_rad

        sums[:] = 0.0
        cost = 0.0
        for j in range(echoes):
            g = group[j]
            t = echo_times[j]
            r = phase[v, j] - intercept[v, g] - TWO_PI * f * t
            # 1 - cos r, written without cancellation.
            cost += 4.0 * weight[j] * math.sin(0.5 * r) ** 2
            sums[g, 0] += weight[j]
            sums[g, 1] += weight[j] * t
            sums[g, 2] += weight[j] * t * t
        precision = 0.0
        for g in range(groups):
            intercept[v, g] = _wrapped(intercept[v, g])
            if sums[g, 0] > 0.0:
                precision += sums[g, 2] - sums[g, 1] * sums[g, 1] / sums[g, 0]
        determined = precision > 1e-12 * total * span * span
        frequency[v] = f if determined else 0.0
        information[v] = precision if determined else 0.0
        misfit[v] = cost
        if determined and not converged:
            unconverged += 1
    return unconverged


@kernel
def difference_frequency(
    start: int,
    stop: int,
    magnitude: NDArray[np.floating],
    phase: NDArray[np.floating],
    echo_times: NDArray[np.float64],
    inverse_variance: bool,
    frequency: NDArray[np.float64],
    variance: NDArray[np.float64],
) -> None:
    """Refine ``frequency`` (Hz), the unwrapped first difference, to the weighted mean over all later echoes.

    Each later difference from the first echo is brought to the turn that the one before predicts.  The weights
    are ``m_j (t_j - t_1)`` or, with ``inverse_variance``, ``(t_j - t_1)^2 / (1/m_1^2 + 1/m_j^2)``.
    ``variance`` is that of f (Hz^2) for unit noise of the real and imaginary channel, 0 where undetermined.
    """
    echoes = echo_times.size
    for v in range(start, stop):
        first_power = float(magnitude[v, 0]) ** 2
        predicted = frequency[v]
        total = 0.0
        mean = 0.0
        from_later = 0.0
        from_first = 0.0
        for j in range(1, echoes):
            elapsed = echo_times[j] - echo_times[0]
            power = float(magnitude[v, j]) ** 2
            if power == 0.0 or first_power == 0.0:
                continue
            difference = float(phase[v, j]) - float(phase[v, 0])
            difference += TWO_PI * np.rint(predicted * elapsed - difference / TWO_PI)
            predicted = difference / (TWO_PI * elapsed)
            if inverse_variance:
                weight = elapsed * elapsed * first_power * power / (first_power + power)
            else:
                weight = math.sqrt(power) * elapsed
            total += weight
            mean += weight * predicted
            share = weight / (TWO_PI * elapsed)
            from_later += share * share / power
            from_first += share
        if total > 0.0:
            frequency[v] = mean / total
            variance[v] = (from_later + from_first * from_first / first_power) / (total * total)
        else:
            frequency[v] = 0.0
            variance[v] = 0.0


@kernel
def intercept_and_misfit(
    start: int,
    stop: int,
    magnitude: NDArray[np.floating],
    phase: NDArray[np.floating],
    echo_times: NDArray[np.float64],
    frequency: NDArray[np.float64],
    intercept: NDArray[np.float64],
    misfit: NDArray[np.float64],
) -> None:
    """Fill the best initial phase (rad) for a given frequency (Hz), and ``sum_j |S_j - model|^2`` left over."""
    for v in range(start, stop):
        real = 0.0
        imaginary = 0.0
        for j in range(echo_times.size):
            angle = phase[v, j] - TWO_PI * frequency[v] * echo_times[j]
            weight = float(magnitude[v, j]) ** 2
            real += weight * math.cos(angle)
            imaginary += weight * math.sin(angle)
        intercept[v, 0] = math.atan2(imaginary, real)
        cost = 0.0
        for j in range(echo_times.size):
            r = phase[v, j] - intercept[v, 0] - TWO_PI * frequency[v] * echo_times[j]
            cost += 4.0 * float(magnitude[v, j]) ** 2 * math.sin(0.5 * r) ** 2
        misfit[v] = cost
