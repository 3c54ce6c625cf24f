"""Data fidelities in the l1 norm, linear and of phase.

With d = z - φ and scaled dual s the proximal step has the threshold t = W / mu.  Where the fit is exact (d = 0) the
dual is free in [-t, t]; elsewhere d fixes it.  So one number holds both: the dual itself where d = 0, else
sign(d) (t + |d|) or the like.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from qsm_recon.backend.field_sweep import proximal_sweep, sweep, weighted_sweep
from qsm_recon.backend.jit import inline, kernel
from qsm_recon.backend.scalars import (
    chosen,
    exact_cosine,
    exact_sine,
    larger,
    limited,
    near_cosine,
    near_sine,
    nearest_whole,
    settled,
    sine_cosine,
    smaller,
)
from qsm_recon.terms.fidelity.base import Fidelity, Step, Sums
from qsm_recon.terms.fidelity.chord import LIMIT, PhaseFidelity

Scalar = Any  # a number of either precision

HALF = np.float32(0.5)
EIGHTH = np.float32(0.125)
ONE = np.float32(1.0)
TWO = np.float32(2.0)
SLOPE_FLOOR = np.float32(0.1)
TINY = np.float32(1e-6)
WHOLE_TURN = np.float32(2 * math.pi)
HALF_TURN = np.float32(math.pi)
EXACT_TURN = 2 * math.pi
NEWTON_STEPS_SINGLE = 2
NEWTON_STEPS_DOUBLE = 60
NEWTON_STEPS_HELD = 6


@inline
def soft_threshold(argument: Scalar, threshold: Scalar, numbers: tuple[Scalar, ...]) -> Scalar:
    """Proximal map of t |d|."""
    return argument - limited(argument, threshold)


@inline
def size(residual: Scalar, numbers: tuple[Scalar, ...]) -> Scalar:
    """|d|."""
    return abs(residual)


@kernel
def absolute_step(
    predicted: NDArray,
    state: NDArray,
    measured: NDArray,
    weight: NDArray,
    first: int,
    nz: int,
    dual_scale: Scalar,
    penalty: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
) -> Sums:
    """:func:`soft_threshold` at every voxel."""
    return proximal_sweep(
        soft_threshold, size, predicted, state, measured, weight, first, nz, penalty, relaxation, numbers
    )


@inline
def _turns(value: Scalar) -> Scalar:
    """Return the whole turn (in rad) that is nearest to an angle."""
    return WHOLE_TURN * nearest_whole(value / WHOLE_TURN)


@inline
def chord_single(
    field: Scalar,
    stored: Scalar,
    measured: Scalar,
    weight: Scalar,
    dual_scale: Scalar,
    penalty: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
) -> Step:
    """Step of W |exp(iz) - exp(iφ)| = 2 W |sin(d/2)| in single precision.

    With e and r counted from the nearest whole turn, the step is e = 0 where |r| ≤ t and else solves
    t cos(e/2) + e - |r| = 0 for e > 0, by Newton's method from the root of a rational function that agrees with it to
    second order in e; convex while t < 2.

    Within half a turn of the turn m, u - m is the dual where d = m, else sign(e) (t + |e| (1 - t/π)) with e = d - m,
    with u what is stored: that meets the neighbouring turn's numbers at ±π, so u tells m, e and the dual.
    """
    zero = penalty - penalty
    residual = field - measured
    threshold = weight / penalty
    contraction = ONE - threshold / HALF_TURN
    turn = _turns(stored)
    s_old = limited(stored - turn, threshold)
    d_old = turn + (stored - turn - s_old) / larger(contraction, TINY)
    e_old = d_old - _turns(d_old)
    sine, cosine = sine_cosine(HALF * e_old)
    # On a whole turn the cosine is one and the stored dual stands; elsewhere it is ± t, to be scaled.
    r = d_old + relaxation * (residual - d_old) + s_old * cosine
    turn = _turns(r)
    distance = abs(r - turn)
    excess = larger(distance - threshold, zero)
    e = smaller(excess / larger(ONE - EIGHTH * threshold * excess, HALF), HALF_TURN)
    for _ in range(NEWTON_STEPS_SINGLE):
        sine, cosine = sine_cosine(HALF * e)
        slope = larger(ONE - HALF * threshold * sine, SLOPE_FLOOR)
        e = larger(e - limited((threshold * cosine + e - distance) / slope, ONE), zero)
    e = chosen(distance > threshold, e, zero)
    sign = chosen(r < turn, -ONE, ONE)
    sine, cosine = sine_cosine(HALF * residual)
    packed = chosen(distance > threshold, turn + sign * (threshold + e * contraction), r)
    new = measured + turn + sign * e
    return new, measured + d_old, sign * (distance - e), packed, TWO * weight * abs(sine)


@inline
def chord_double(
    field: Scalar,
    stored: Scalar,
    measured: Scalar,
    weight: Scalar,
    dual_scale: Scalar,
    penalty: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
) -> Step:
    """The same in double precision, iterated until Newton's step vanishes."""
    residual = field - measured
    threshold = weight / penalty
    contraction = larger(1.0 - threshold / math.pi, 1e-12)
    turn = EXACT_TURN * nearest_whole(stored / EXACT_TURN)
    s_old = limited(stored - turn, threshold)
    e_old = (stored - turn - s_old) / contraction
    r = turn + e_old + relaxation * (residual - turn - e_old) + s_old * exact_cosine(0.5 * e_old)
    d_old = turn + e_old
    turn = EXACT_TURN * nearest_whole(r / EXACT_TURN)
    distance = abs(r - turn)
    sign = chosen(r < turn, -1.0, 1.0)
    away = distance > threshold
    e = chosen(away, distance - threshold, 0.0)
    for _ in range(NEWTON_STEPS_DOUBLE):
        slope = larger(1.0 - 0.5 * threshold * exact_sine(0.5 * e), 0.1)
        step = limited((threshold * exact_cosine(0.5 * e) + e - distance) / slope, 1.0)
        step = chosen(away, step, 0.0)
        e = e - step
        if settled(abs(step) <= 1e-15 * (1.0 + e)):
            break
    packed = chosen(away, turn + sign * (threshold + e * contraction), r)
    value = 2.0 * weight * abs(exact_sine(0.5 * residual))
    return measured + turn + sign * e, measured + d_old, sign * (distance - e), packed, value


@inline
def held_chord(
    field: Scalar,
    stored: Scalar,
    measured: Scalar,
    weight: Scalar,
    dual_scale: Scalar,
    penalty: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
) -> Step:
    """Step of W g(z - φ) with g(d) = 2 |sin(d/2)| up to |d| = :data:`LIMIT`, and a slope of 1 beyond.

    The pull of a residual then lies between 0.88 and 1, that of |d|.

    With r the argument of the step and t its threshold, z is φ where |r| ≤ t; up to the limit |d| = e solves
    t cos(e/2) + e = |r|; beyond it is |r| - t, but no less than the limit.  Where z is not φ, sign(r) (t + e) is stored
    up to the limit, and |r| grows on from there beyond.
    """
    zero = penalty - penalty
    one = zero + LIMIT  # of the precision of the field
    limit, half = one * LIMIT, one * HALF
    residual = field - measured
    threshold = weight / penalty
    bend = limit + threshold * near_cosine(half * limit, one)
    beyond = abs(stored) - threshold
    e_old = smaller(larger(beyond, zero), limit)
    size_old = chosen(beyond > limit, beyond - limit + bend, e_old + threshold * near_cosine(half * e_old, one))
    e_old = chosen(beyond > limit, larger(limit, size_old - threshold), e_old)
    s_old = chosen(beyond > zero, size_old - e_old, abs(stored))
    side = chosen(stored < zero, -one, one)
    d_old = side * e_old
    r = d_old + relaxation * (residual - d_old) + side * s_old
    distance = abs(r)
    e = smaller(larger(distance - threshold, zero), limit)
    for _ in range(NEWTON_STEPS_HELD):
        slope = larger(one - half * threshold * near_sine(half * e, one), half * half * half)
        step = (threshold * near_cosine(half * e, one) + e - distance) / slope
        e = smaller(larger(e - step, zero), limit)
    packed = chosen(distance > bend, threshold + limit + distance - bend, threshold + e)
    e = chosen(distance > bend, larger(limit, distance - threshold), e)
    e, packed = chosen(distance <= threshold, zero, e), chosen(distance <= threshold, distance, packed)
    side = chosen(r < zero, -one, one)
    away = abs(residual)
    near = smaller(away, limit)
    value = weight * (near_sine(half * near, one) / half + (away - near))
    return measured + side * e, measured + d_old, side * (distance - e), side * packed, value


@kernel
def chord_step_single(
    predicted: NDArray,
    state: NDArray,
    measured: NDArray,
    weight: NDArray,
    first: int,
    nz: int,
    dual_scale: Scalar,
    penalty: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
) -> Sums:
    """:func:`chord_single` at every voxel that has weight."""
    return weighted_sweep(
        chord_single, predicted, state, measured, weight, first, nz, dual_scale, penalty, relaxation, numbers, True
    )


@kernel
def chord_step_double(
    predicted: NDArray,
    state: NDArray,
    measured: NDArray,
    weight: NDArray,
    first: int,
    nz: int,
    dual_scale: Scalar,
    penalty: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
) -> Sums:
    """:func:`chord_double` at every voxel."""
    return sweep(chord_double, predicted, state, measured, weight, first, nz, dual_scale, penalty, relaxation, numbers)


@kernel
def held_chord_step(
    predicted: NDArray,
    state: NDArray,
    measured: NDArray,
    weight: NDArray,
    first: int,
    nz: int,
    dual_scale: Scalar,
    penalty: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
) -> Sums:
    """:func:`held_chord` at every voxel; to skip those without weight took longer."""
    return sweep(held_chord, predicted, state, measured, weight, first, nz, dual_scale, penalty, relaxation, numbers)


@dataclass(frozen=True)
class AbsoluteFidelity(Fidelity):
    """‖W (D χ - φ)‖₁, W not squared.

    References
    ----------
    Milovic et al., Magn Reson Med 87:457-473 (2022), doi 10.1002/mrm.28957.
    """

    name: ClassVar[str] = "l1"
    citation: ClassVar[str] = "Milovic et al., Magn Reson Med 87:457-473 (2022), doi 10.1002/mrm.28957"
    power: ClassVar[int] = 1
    stores_residual: ClassVar[bool] = True

    def step(self, dtype: DTypeLike) -> Callable[..., Sums]:
        """See :class:`Fidelity`."""
        return absolute_step


@dataclass(frozen=True)
class NonlinearAbsoluteFidelity(PhaseFidelity):
    """‖W (exp(i D χ) - exp(i φ))‖₁, with χ and φ in rad, W not squared.

    Its pull falls with the size of a residual, at every size; where it holds on to its turn, that beyond one radian is
    the linear fidelity's.

    References
    ----------
    Milovic et al., Magn Reson Med 87:457-473 (2022), doi 10.1002/mrm.28957, who split it twice; one exact proximal step
    does the same.
    """

    name: ClassVar[str] = "nonlinear-l1"
    citation: ClassVar[str] = AbsoluteFidelity.citation
    power: ClassVar[int] = 1
    stores_residual: ClassVar[bool] = True
    linear: ClassVar[Fidelity] = AbsoluteFidelity()

    def step(self, dtype: DTypeLike) -> Callable[..., Sums]:
        """See :class:`Fidelity`."""
        if self.holds:
            return held_chord_step
        return chord_step_single if dtype == np.float32 else chord_step_double
