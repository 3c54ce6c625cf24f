"""Kernels on lists of voxels: frequency and initial phase from multi-echo phase.

Every array holds one voxel per row and, for signals, one echo per column.  Arithmetic is float64 whatever the
arrays hold: a phase of many turns needs the digits.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import inline, kernel
from qsm_recon.backend.trigonometry import sine_cosine

TWO_PI = 2.0 * math.pi
# Weighted spread of echo times, relative to its largest possible value, below which no frequency is determined.
NEGLIGIBLE = 1e-12
SMALL_SQUARE = 0.25
"""Square of the angle up to which the series of its sine is taken."""


@inline
def _wrapped(angle: float) -> float:
    """Return the angle (rad) brought to [-pi, pi]."""
    return angle - TWO_PI * np.rint(angle / TWO_PI)


@inline
def _sine_over_angle(angle: float) -> float:
    square = angle * angle
    if square > SMALL_SQUARE:
        return math.sin(angle) / angle
    # The series, to rounding: many times as fast, and most angles are small.
    rest = square * (1.0 / 362880.0 - square * (1.0 / 39916800.0 - square / 6227020800.0))
    return 1.0 - square * (1.0 / 6.0 - square * (1.0 / 120.0 - square * (1.0 / 5040.0 - rest)))


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
def _best_on_grid(
    phase: NDArray[np.floating],
    weight: NDArray[np.float64],
    echo_times: NDArray[np.float64],
    group: NDArray[np.intp],
    first_hz: float,
    turning: NDArray[np.float64],
    sums: NDArray[np.float64],
    intercept: NDArray[np.float64],
) -> int:
    """Return the number of the grid frequency with the largest ``sum_g |A_g(f)|``; fill the angles of ``A_g`` there.

    ``turning`` (2, echoes, points) is the cosine and the sine of what turns each echo back from the first grid
    frequency to every other; ``sums`` (2 * groups + 1, points) is scratch.  Neither needs more than single precision:
    what is found is the start of the regression.
    """
    points = turning.shape[2]
    sums[:] = 0.0
    for j in range(echo_times.size):
        sine, cosine = sine_cosine(np.float32(_wrapped(phase[j] - TWO_PI * first_hz * echo_times[j])))
        real, imaginary = weight[j] * cosine, weight[j] * sine
        along, across = turning[0, j], turning[1, j]
        sum_real, sum_imaginary = sums[2 * group[j]], sums[2 * group[j] + 1]
        for point in range(points):
            sum_real[point] += real * along[point] + imaginary * across[point]
            sum_imaginary[point] += imaginary * along[point] - real * across[point]
    value = sums[-1]
    for g in range(intercept.size):
        for point in range(points):
            value[point] += math.sqrt(sums[2 * g, point] ** 2 + sums[2 * g + 1, point] ** 2)
    best = 0
    for point in range(1, points):
        if value[point] > value[best]:
            best = point
    for g in range(intercept.size):
        intercept[g] = math.atan2(sums[2 * g + 1, best], sums[2 * g, best])
    return best


@kernel
def _regression_step(
    phase: NDArray[np.floating],
    weight: NDArray[np.float64],
    echo_times: NDArray[np.float64],
    group: NDArray[np.intp],
    frequency: float,
    intercept: NDArray[np.float64],
    moments: NDArray[np.float64],
) -> tuple[float, float]:
    """One step of the reweighted regression: update ``intercept``; return the frequency and the largest phase change.

    A negative change says that the echoes do not determine a frequency.
    """
    span = echo_times[-1] - echo_times[0]
    moments[:] = 0.0
    total = 0.0
    for j in range(echo_times.size):
        g = group[j]
        t = echo_times[j]
        r = _wrapped(phase[j] - intercept[g] - TWO_PI * frequency * t)
        w = weight[j] * _sine_over_angle(r)
        total += weight[j]
        moments[g, 0] += w
        moments[g, 1] += w * t
        moments[g, 2] += w * t * t
        moments[g, 3] += w * r
        moments[g, 4] += w * t * r
    numerator = 0.0
    denominator = 0.0
    for g in range(intercept.size):
        if moments[g, 0] > 0.0:
            numerator += moments[g, 4] - moments[g, 1] * moments[g, 3] / moments[g, 0]
            denominator += moments[g, 2] - moments[g, 1] * moments[g, 1] / moments[g, 0]
    if denominator <= NEGLIGIBLE * total * span * span:
        return frequency, -1.0
    slope = numerator / denominator
    change = abs(slope) * span
    for g in range(intercept.size):
        if moments[g, 0] > 0.0:
            shift = (moments[g, 3] - slope * moments[g, 1]) / moments[g, 0]
            intercept[g] += shift
            change = max(change, abs(shift + slope * echo_times[0]))
    return frequency + slope / TWO_PI, change


@kernel
def _precision_and_misfit(
    phase: NDArray[np.floating],
    weight: NDArray[np.float64],
    echo_times: NDArray[np.float64],
    group: NDArray[np.intp],
    frequency: float,
    intercept: NDArray[np.float64],
    moments: NDArray[np.float64],
) -> tuple[float, float]:
    """Return the inverse variance of 2 pi f for unit noise (0 where undetermined) and ``sum_j |S_j - model|^2``."""
    span = echo_times[-1] - echo_times[0]
    moments[:] = 0.0
    total = 0.0
    misfit = 0.0
    for j in range(echo_times.size):
        g = group[j]
        t = echo_times[j]
        r = phase[j] - intercept[g] - TWO_PI * frequency * t
        half = 0.5 * r * _sine_over_angle(0.5 * r)
        misfit += 4.0 * weight[j] * half * half  # 2 (1 - cos r) without cancellation
        total += weight[j]
        moments[g, 0] += weight[j]
        moments[g, 1] += weight[j] * t
        moments[g, 2] += weight[j] * t * t
    precision = 0.0
    for g in range(intercept.size):
        if moments[g, 0] > 0.0:
            precision += moments[g, 2] - moments[g, 1] * moments[g, 1] / moments[g, 0]
    if precision <= NEGLIGIBLE * total * span * span:
        precision = 0.0
    return precision, misfit


@kernel
def fit_frequency(
    start: int,
    stop: int,
    magnitude: NDArray[np.floating],
    phase: NDArray[np.floating],
    echo_times: NDArray[np.float64],
    group: NDArray[np.intp],
    window_hz: float,
    grid_steps: int,
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
    so the best f maximises ``sum_g |A_g(f)|``: first on a grid of ``grid_steps`` over ``window_hz`` around the
    start found in ``frequency``, then by iteratively reweighted linear regression of the unwrapped residual phase.
    The weights ``w_j sin(r_j)/r_j`` give the sharpest quadratic that lies above ``w_j (1 - cos r_j)`` on one turn
    and touches it at r_j, so that no step increases the cost.

    Outputs: ``frequency`` (Hz), ``intercept`` (rad, one column per group), ``information`` (inverse variance of
    2 pi f for unit noise of the real and imaginary channel; 0 where f is not determined) and ``misfit``
    (``sum_j |S_j - model|^2``, units of magnitude squared).
    """
    groups = intercept.shape[1]
    weight = np.empty(echo_times.size)
    sums = np.empty((2 * groups + 1, grid_steps + 1))
    moments = np.empty((groups, 5))
    step_hz = window_hz / grid_steps
    turning = np.empty((2, echo_times.size, grid_steps + 1))
    for j in range(echo_times.size):
        for point in range(grid_steps + 1):
            angle = TWO_PI * step_hz * point * echo_times[j]
            turning[0, j, point], turning[1, j, point] = math.cos(angle), math.sin(angle)
    unconverged = 0
    for v in range(start, stop):
        angles, own = phase[v], intercept[v]
        for j in range(echo_times.size):
            weight[j] = float(magnitude[v, j]) ** 2
        first_hz = frequency[v] - 0.5 * window_hz
        f = first_hz + step_hz * _best_on_grid(angles, weight, echo_times, group, first_hz, turning, sums, own)
        change = math.inf
        for _ in range(max_iterations):
            f, change = _regression_step(angles, weight, echo_times, group, f, own, moments)
            if change < tolerance_rad:
                break
        information[v], misfit[v] = _precision_and_misfit(angles, weight, echo_times, group, f, own, moments)
        frequency[v] = f if information[v] > 0.0 else 0.0
        for g in range(groups):
            own[g] = _wrapped(own[g])
        if information[v] > 0.0 and not 0.0 <= change < tolerance_rad:
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
