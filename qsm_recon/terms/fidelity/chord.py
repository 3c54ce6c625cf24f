"""The nonlinear data fidelity of phase, squared: as published, or held to its turn.

At the optimum of a step mu s = W² sin(z - φ), so that z is all that is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from qsm_recon.backend.field_sweep import sweep, weighted_sweep
from qsm_recon.backend.jit import inline, kernel
from qsm_recon.backend.scalars import (
    chosen,
    exact_cosine,
    exact_sine,
    larger,
    limited,
    near_cosine,
    near_sine,
    settled,
    sine_cosine,
    smaller,
)
from qsm_recon.terms.fidelity.base import Fidelity, Step, Sums
from qsm_recon.terms.fidelity.quadratic import QuadraticFidelity
from qsm_recon.terms.turns import TURN, whole_turns

Scalar = Any  # a number of either precision

LIMIT = np.float32(1.0)
"""Residual, in rad, beyond which a fidelity that holds on to its turn goes on as the linear one."""
HALF = np.float32(0.5)
ONE = np.float32(1.0)
TWO = np.float32(2.0)
SLOPE_FLOOR = np.float32(0.1)
DAMPING = np.float32(0.6)
EXACT_DAMPING = 0.6
FURTHER_STEPS_SINGLE = 1  # after a first one whose sine is at hand
NEWTON_STEPS_DOUBLE = 100
NEWTON_STEPS_HELD = 6


@inline
def _bounded_step(value: Scalar, slope: Scalar, largest: Scalar) -> Scalar:
    """Newton's step value / slope, kept safe where the slope is small or negative."""
    return limited(value / larger(slope, SLOPE_FLOOR), largest)


@inline
def _curved_step(value: Scalar, slope: Scalar, curvature: Scalar) -> Scalar:
    """Halley's step, of third order, bounded by one radian: Newton's, corrected for the second derivative."""
    newton = _bounded_step(value, slope, ONE)
    correction = ONE - HALF * newton * curvature / larger(slope, SLOPE_FLOOR)
    return limited(newton / smaller(larger(correction, HALF), TWO), ONE)


@inline
def squared_chord_single(
    field: Scalar,
    stored: Scalar,
    measured: Scalar,
    weight: Scalar,
    dual_scale: Scalar,
    penalty: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
) -> Step:
    """Step of ½ W² |exp(iz) - exp(iφ)|² in single precision.

    Halley's method on g(d) = a sin d + d - r with d = z - φ, a = W²/mu and r = q - φ, started from the z of the
    iteration before: at the fixed point of the outer loop it is exact however few steps are taken.  Slopes are kept
    above a floor and steps below one radian, so that a voxel in a wrap (a > 1, cos d < 0) moves on without jumping.

    Beyond 60 degrees the fidelity is hardly convex, and over-relaxed exact steps oscillate for ever.  There one step
    with the largest slope, 1 + a, is taken from z, under-relaxed; its fixed points are the same.  Without
    over-relaxation the steps are exact everywhere, as published.
    """
    a = weight * (ONE / penalty)
    start = stored - measured
    sine, cosine = sine_cosine(start)
    convex = (relaxation == ONE) | (cosine > HALF)
    factor = chosen(convex | (a == 0), relaxation, DAMPING)  # without weight φ must not matter
    r = start + factor * (field - stored) + dual_scale * weight * sine
    residual = a * sine + start - r
    d = start - _curved_step(residual, a * cosine + ONE, -a * sine)
    for _ in range(FURTHER_STEPS_SINGLE):
        sine, cosine = sine_cosine(d)
        d = d - _curved_step(a * sine + d - r, a * cosine + ONE, -a * sine)
    d = chosen(convex, d, start - residual / (ONE + a))
    sine, cosine = sine_cosine(HALF * (field - measured))
    return measured + d, stored, r - d, measured + d, TWO * weight * sine * sine


@inline
def squared_chord_double(
    field: Scalar,
    stored: Scalar,
    measured: Scalar,
    weight: Scalar,
    dual_scale: Scalar,
    penalty: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
) -> Step:
    """The same in double precision, iterated until Newton's step vanishes: for parity tests."""
    a = weight / penalty
    start = stored - measured
    convex = (relaxation == 1.0) | (exact_cosine(start) > 0.5)
    factor = chosen(convex | (a == 0), relaxation, EXACT_DAMPING)
    r = start + factor * (field - stored) + dual_scale * weight * exact_sine(start)
    d = start
    for _ in range(NEWTON_STEPS_DOUBLE):
        step = _bounded_step(a * exact_sine(d) + d - r, a * exact_cosine(d) + 1.0, 1.0)
        step = chosen(convex, step, 0.0)
        d = d - step
        if settled(abs(step) <= 1e-15 * (1.0 + abs(d))):
            break
    d = chosen(convex, d, start - (a * exact_sine(start) + start - r) / (1.0 + a))
    sine = exact_sine(0.5 * (field - measured))
    return measured + d, stored, r - d, measured + d, 2.0 * weight * sine * sine


@inline
def held_squared_chord(
    field: Scalar,
    stored: Scalar,
    measured: Scalar,
    weight: Scalar,
    dual_scale: Scalar,
    penalty: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
) -> Step:
    """Step of W² g(z - φ) with g(d) = 1 - cos d up to |d| = :data:`LIMIT`; beyond, its slope rises as that of ½ d²."""
    zero = penalty - penalty
    one = zero + LIMIT  # of the precision of the field
    limit, half, two = one * LIMIT, one * HALF, one + one
    end_slope = two * near_sine(half * limit, one) * near_cosine(half * limit, one)
    a = weight / penalty
    start = stored - measured
    near = limited(start, limit)
    pull = two * near_sine(half * near, one) * near_cosine(half * near, one) + start - near
    r = start + relaxation * (field - stored) + dual_scale * weight * pull
    size = abs(r)
    e = smaller(size / (one + a), limit)
    for _ in range(NEWTON_STEPS_HELD):
        sine, cosine = near_sine(half * e, one), near_cosine(half * e, one)
        step = a * two * sine * cosine + e - size
        e = smaller(larger(e - step / (one + a * (one - two * sine * sine)), zero), limit)
    bend = limit + a * end_slope
    e = chosen(size > bend, limit + (size - bend) / (one + a), e)
    d = chosen(r < zero, -e, e)
    distance = abs(field - measured)
    inner = smaller(distance, limit)
    outer = distance - inner
    sine = near_sine(half * inner, one)
    value = weight * (two * sine * sine + outer * (end_slope + half * outer))
    return measured + d, stored, r - d, measured + d, value


@kernel
def squared_chord_step_single(
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
    """:func:`squared_chord_single` at every voxel that has weight."""
    return weighted_sweep(
        squared_chord_single,
        predicted, state, measured, weight, first, nz, dual_scale, penalty, relaxation, numbers, False,
    )  # fmt: skip


@kernel
def squared_chord_step_double(
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
    """:func:`squared_chord_double` at every voxel."""
    return sweep(
        squared_chord_double,
        predicted, state, measured, weight, first, nz, dual_scale, penalty, relaxation, numbers,
    )  # fmt: skip


@kernel
def held_squared_chord_step(
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
    """:func:`held_squared_chord` at every voxel; to skip those without weight took longer."""
    return sweep(
        held_squared_chord,
        predicted, state, measured, weight, first, nz, dual_scale, penalty, relaxation, numbers,
    )  # fmt: skip


@dataclass(frozen=True)
class PhaseFidelity(Fidelity):
    """A fidelity of phase, whose function of the residual d = D χ - φ repeats itself with every turn, or holds on.

    Parameters
    ----------
    convex_iterations
        None: wraps that φ shows by itself are taken out of it, and beyond one radian the function goes on with the
        slope of the linear fidelity, so that there are no other minima in which strong sources are given up.  A number
        above 0: the same wraps are taken out, and the published function follows after so many iterations with the
        linear fidelity.  0: as published.
    """

    of_phase: ClassVar[bool] = True
    linear: ClassVar[Fidelity]
    """What stands in for it."""

    convex_iterations: int | None = 0

    @property
    def holds(self) -> bool:
        """Whether the function holds on to its turn."""
        return self.convex_iterations is None

    @property
    def several_minima(self) -> bool:
        """See :class:`Fidelity`."""
        return not self.holds

    @property
    def stand_in(self) -> tuple[int, Fidelity] | None:
        """See :class:`Fidelity`."""
        return (self.convex_iterations, self.linear) if self.convex_iterations else None

    def continued(self) -> Fidelity:
        """See :class:`Fidelity`."""
        return replace(self, convex_iterations=0) if self.convex_iterations else self

    def prepared(self, field: NDArray, inside: NDArray[np.bool_]) -> NDArray:
        """See :class:`Fidelity`."""
        if self.convex_iterations == 0:
            return field
        return field - field.dtype.type(TURN) * whole_turns(field, inside)


@dataclass(frozen=True)
class NonlinearFidelity(PhaseFidelity):
    """½‖W (exp(i D χ) - exp(i φ))‖² = Σ W² (1 - cos d), with χ and φ in rad.

    Where it holds on to its turn, the slope beyond one radian rises as that of ½ d²: the function is convex.

    References
    ----------
    Milovic et al., Magn Reson Med 80:814-821 (2018), doi 10.1002/mrm.27073, who start with the nonlinear fidelity at
    once.
    """

    name: ClassVar[str] = "nonlinear"
    linear: ClassVar[Fidelity] = QuadraticFidelity()

    def step(self, dtype: DTypeLike) -> Callable[..., Sums]:
        """See :class:`Fidelity`."""
        if self.holds:
            return held_squared_chord_step
        return squared_chord_step_single if dtype == np.float32 else squared_chord_step_double
