"""Plain numpy for :mod:`qsm_recon.backend.kernels.signal`; voxels run along the first axis, echoes along the last."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.kernels.signal import NEGLIGIBLE, TWO_PI
from qsm_recon.backend.plain.arrays import pieces


def _wrapped(angle: NDArray) -> NDArray:
    return np.asarray(angle - TWO_PI * np.rint(angle / TWO_PI))


def pair_frequency(
    start: int,
    stop: int,
    magnitude: NDArray,
    phase: NDArray,
    pairs: NDArray[np.intp],
    spacing: float,
    frequency: NDArray,
) -> None:
    """See the kernel."""
    first, second = pairs[:, 0], pairs[:, 1]
    for piece in pieces(start, stop):
        size, angle = magnitude[piece].astype(np.float64), phase[piece].astype(np.float64)
        weight, difference = size[:, first] * size[:, second], angle[:, second] - angle[:, first]
        real, imaginary = (weight * np.cos(difference)).sum(axis=1), (weight * np.sin(difference)).sum(axis=1)
        frequency[piece] = np.arctan2(imaginary, real) / (TWO_PI * spacing)


class _Echoes:
    """Signals of some voxels, and the sums over groups of echoes that the fit is made of."""

    def __init__(self, magnitude: NDArray, phase: NDArray, times: NDArray, group: NDArray, groups: int) -> None:
        self.weight = magnitude.astype(np.float64) ** 2
        self.phase = phase.astype(np.float64)
        self.times = times
        self.span = times[-1] - times[0]
        self.group = group
        self.members = (group[:, None] == np.arange(groups)).astype(np.float64)

    def by_group(self, values: NDArray) -> NDArray:
        """Sum over the echoes of each group."""
        return np.asarray(values @ self.members)

    def amplitudes(self, frequency: NDArray) -> NDArray[np.complex128]:
        """The sums A_g of the signals turned back by a frequency."""
        angle = self.phase - TWO_PI * frequency[:, None] * self.times
        return np.asarray((self.weight * np.exp(1j * angle)) @ self.members)

    def best_on_grid(self, first_hz: NDArray, step_hz: float, points: int) -> NDArray:
        """The grid frequency (Hz) with the largest Σ |A_g|."""
        signal = self.weight * np.exp(1j * (self.phase - TWO_PI * first_hz[:, None] * self.times))
        rotation = np.exp(-1j * TWO_PI * step_hz * self.times)
        best, best_point = np.full(first_hz.size, -1.0), np.zeros(first_hz.size)
        for point in range(points):
            value = np.abs(signal @ self.members).sum(axis=1)
            better = value > best
            best, best_point = np.where(better, value, best), np.where(better, point, best_point)
            signal = signal * rotation
        return np.asarray(first_hz + best_point * step_hz)

    def regression_step(self, frequency: NDArray, intercept: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Frequency, intercepts and largest phase change; a negative change where no frequency is determined."""
        t = self.times
        r = _wrapped(self.phase - intercept[:, self.group] - TWO_PI * frequency[:, None] * t)
        w = self.weight * np.where(np.abs(r) < 1e-4, 1.0 - r * r / 6.0, np.sin(r) / r)
        m0, m1, m2, m3, m4 = (self.by_group(values) for values in (w, w * t, w * t * t, w * r, w * t * r))
        there = m0 > 0
        numerator = np.where(there, m4 - m1 * m3 / m0, 0.0).sum(axis=1)
        denominator = np.where(there, m2 - m1 * m1 / m0, 0.0).sum(axis=1)
        determined = denominator > NEGLIGIBLE * self.weight.sum(axis=1) * self.span * self.span
        slope = np.where(determined, numerator / denominator, 0.0)
        shift = np.where(there & determined[:, None], (m3 - slope[:, None] * m1) / m0, 0.0)
        moved = np.where(there, np.abs(shift + slope[:, None] * t[0]), 0.0).max(axis=1)
        change = np.where(determined, np.maximum(np.abs(slope) * self.span, moved), -1.0)
        return frequency + slope / TWO_PI, intercept + shift, change

    def precision_and_misfit(self, frequency: NDArray, intercept: NDArray) -> tuple[NDArray, NDArray]:
        """Inverse variance of 2 pi f for unit noise (0 where undetermined), and Σ |S - model|²."""
        r = self.phase - intercept[:, self.group] - TWO_PI * frequency[:, None] * self.times
        misfit = (4.0 * self.weight * np.sin(0.5 * r) ** 2).sum(axis=1)
        w, t = self.weight, self.times
        m0, m1, m2 = self.by_group(w), self.by_group(w * t), self.by_group(w * t * t)
        precision = np.where(m0 > 0, m2 - m1 * m1 / m0, 0.0).sum(axis=1)
        negligible = precision <= NEGLIGIBLE * w.sum(axis=1) * self.span * self.span
        return np.where(negligible, 0.0, precision), misfit

    def among(self, chosen: NDArray[np.bool_]) -> _Echoes:
        """The same of some of the voxels."""
        part = _Echoes.__new__(_Echoes)
        part.__dict__.update(self.__dict__, weight=self.weight[chosen], phase=self.phase[chosen])
        return part


def fit_frequency(
    start: int,
    stop: int,
    magnitude: NDArray,
    phase: NDArray,
    echo_times: NDArray,
    group: NDArray[np.intp],
    window_hz: float,
    grid_steps: int,
    tolerance_rad: float,
    max_iterations: int,
    frequency: NDArray,
    intercept: NDArray,
    information: NDArray,
    misfit: NDArray,
) -> int:
    """See the kernel."""
    unconverged = 0
    for piece in pieces(start, stop):
        echoes = _Echoes(magnitude[piece], phase[piece], echo_times, group, intercept.shape[1])
        f = echoes.best_on_grid(frequency[piece] - 0.5 * window_hz, window_hz / grid_steps, grid_steps + 1)
        amplitude = echoes.amplitudes(f)
        angle = np.arctan2(amplitude.imag, amplitude.real)
        change, moving = np.full(f.size, np.inf), np.ones(f.size, bool)
        for _ in range(max_iterations):
            if not moving.any():
                break
            step = echoes.among(moving).regression_step(f[moving], angle[moving])
            f[moving], angle[moving], change[moving] = step
            moving &= ~(change < tolerance_rad)
        information[piece], misfit[piece] = echoes.precision_and_misfit(f, angle)
        determined = information[piece] > 0
        frequency[piece] = np.where(determined, f, 0.0)
        intercept[piece] = _wrapped(angle)
        unconverged += int(np.count_nonzero(determined & ~((change >= 0) & (change < tolerance_rad))))
    return unconverged


def difference_frequency(
    start: int,
    stop: int,
    magnitude: NDArray,
    phase: NDArray,
    echo_times: NDArray,
    inverse_variance: bool,
    frequency: NDArray,
    variance: NDArray,
) -> None:
    """See the kernel."""
    for piece in pieces(start, stop):
        size, angle = magnitude[piece].astype(np.float64), phase[piece].astype(np.float64)
        first_power, predicted = size[:, 0] ** 2, frequency[piece].copy()
        total, mean, from_later, from_first = np.zeros((4, predicted.size))
        for j in range(1, echo_times.size):
            elapsed, power = echo_times[j] - echo_times[0], size[:, j] ** 2
            there = (power != 0) & (first_power != 0)
            difference = angle[:, j] - angle[:, 0]
            difference = difference + TWO_PI * np.rint(predicted * elapsed - difference / TWO_PI)
            predicted = np.where(there, difference / (TWO_PI * elapsed), predicted)
            if inverse_variance:
                weight = elapsed * elapsed * first_power * power / (first_power + power)
            else:
                weight = np.sqrt(power) * elapsed
            weight = np.where(there, weight, 0.0)
            share = weight / (TWO_PI * elapsed)
            total += weight
            mean += weight * predicted
            from_later += np.where(there, share * share / power, 0.0)
            from_first += share
        found = total > 0
        spread = (from_later + from_first * from_first / first_power) / (total * total)
        frequency[piece], variance[piece] = np.where(found, mean / total, 0.0), np.where(found, spread, 0.0)


def intercept_and_misfit(
    start: int,
    stop: int,
    magnitude: NDArray,
    phase: NDArray,
    echo_times: NDArray,
    frequency: NDArray,
    intercept: NDArray,
    misfit: NDArray,
) -> None:
    """See the kernel."""
    for piece in pieces(start, stop):
        weight = magnitude[piece].astype(np.float64) ** 2
        angle = phase[piece] - TWO_PI * frequency[piece][:, None] * echo_times
        real, imaginary = (weight * np.cos(angle)).sum(axis=1), (weight * np.sin(angle)).sum(axis=1)
        intercept[piece, 0] = np.arctan2(imaginary, real)
        rest = angle - intercept[piece, 0][:, None]
        misfit[piece] = (4.0 * weight * np.sin(0.5 * rest) ** 2).sum(axis=1)
