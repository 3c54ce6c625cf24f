"""Phase in whatever unit a scanner or converter wrote, brought to rad."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qsm_recon.errors import DataError, ParameterError, did_you_mean
from qsm_recon.values import floating_image, image_array

logger = logging.getLogger(__name__)

TOLERANCE = 0.01
"""How far outside a convention's range values may lie, as a fraction of one turn (rounding, interpolation)."""
END_MARGIN = 0.01
"""How near both ends of the range values must come, as a fraction of one turn, to be one turn of a convention.

A wrapped phase image with noise in its background fills its range; one that ends short of it could be cut from a
wider range, and is refused rather than stretched."""
RADIAN_SHARE = 0.9
"""Share of a turn that values must span to be taken for radians: no other convention has a turn nearly as wide."""
SMALLEST_SHARE = 0.05
"""Share of a turn below which not even a stated unit is believed: noise alone spans more."""

NARROW = 7.0
"""How many times narrower than the turn of all echoes one echo's turn is at least where its unit is another one."""


@dataclass(frozen=True)
class PhaseUnit:
    """A way of writing phase: ``low`` ... ``high`` is one turn, ``zero`` is the value of phase 0."""

    name: str
    low: float
    high: float
    zero: float
    description: str

    @property
    def rad_per_unit(self) -> float:
        """Radians per unit."""
        return 2.0 * math.pi / (self.high - self.low)

    def contains(self, smallest: float, largest: float) -> bool:
        """Tell whether values in this range are possible."""
        slack = TOLERANCE * (self.high - self.low)
        return self.low - slack <= smallest and largest <= self.high + slack

    def filled_by(self, smallest: float, largest: float) -> bool:
        """Tell whether values in this range are one turn: possible, and reaching both ends."""
        margin = END_MARGIN * (self.high - self.low)
        reaching = smallest <= self.low + margin and largest >= self.high - margin
        return reaching and self.contains(smallest, largest)


UNITS = {
    unit.name: unit
    for unit in (
        PhaseUnit("rad", -math.pi, math.pi, 0.0, "radians, -pi to pi"),
        PhaseUnit("rad-positive", 0.0, 2.0 * math.pi, 0.0, "radians, 0 to 2 pi"),
        PhaseUnit("degrees", -180.0, 180.0, 0.0, "degrees, -180 to 180"),
        PhaseUnit("degrees-positive", 0.0, 360.0, 0.0, "degrees, 0 to 360"),
        PhaseUnit("turns", -0.5, 0.5, 0.0, "turns, -0.5 to 0.5"),
        PhaseUnit("turns-positive", 0.0, 1.0, 0.0, "turns, 0 to 1"),
        PhaseUnit("half-turns", -1.0, 1.0, 0.0, "half turns, -1 to 1 for -pi to pi"),
        PhaseUnit("signed-500", -500.0, 500.0, 0.0, "scaled integers, -500 to 500 for -pi to pi"),
        PhaseUnit("milliradians", -1000 * math.pi, 1000 * math.pi, 0.0, "milliradians, -3142 to 3142"),
        PhaseUnit("signed-2048", -2048.0, 2048.0, 0.0, "12-bit integers, -2048 to 2047 for -pi to pi"),
        PhaseUnit("unsigned-4096", 0.0, 4096.0, 2048.0, "12-bit integers, 0 to 4095 for -pi to pi"),
        PhaseUnit("signed-4096", -4096.0, 4096.0, 0.0, "scaled integers, -4096 to 4095 for -pi to pi"),
    )
}


def phase_unit(text: str) -> PhaseUnit:
    """Return the unit of a name, or of ``LOW:HIGH``, the values at both ends of one turn.

    Raises
    ------
    ParameterError
        If it is neither.
    """
    if text in UNITS:
        return UNITS[text]
    low, colon, high = text.partition(":")
    try:
        ends = (float(low), float(high)) if colon else ()
    except ValueError:
        ends = ()
    if not ends:
        raise ParameterError(
            f"phase unit '{text}' is unknown{did_you_mean(text, ['auto', *UNITS])}; or LOW:HIGH, both ends of one turn"
        )
    if not (math.isfinite(ends[0]) and math.isfinite(ends[1]) and ends[0] < ends[1]):
        raise ParameterError(f"phase unit '{text}': expected LOW:HIGH with LOW below HIGH, both ends of one turn")
    zero = 0.0 if ends[0] <= 0 <= ends[1] else sum(ends) / 2
    return PhaseUnit(text, *ends, zero, f"{ends[0]:g} to {ends[1]:g} for one turn")


@dataclass(frozen=True)
class PhaseScaling:
    """What the phase was taken for and how it was converted: ``rad = rad_per_unit * (value - zero)``."""

    unit: str
    description: str
    rad_per_unit: float
    zero: float
    smallest: float
    largest: float
    recognised_automatically: bool


def turn_filled_by(smallest: float, largest: float) -> PhaseUnit | None:
    """Return the one convention of which values in this range are a full turn, if any."""
    full = [unit for unit in UNITS.values() if unit.filled_by(smallest, largest)]
    return full[0] if len(full) == 1 else None


def unit_of_its_own(unit: PhaseUnit, smallest: float, largest: float) -> PhaseUnit | None:
    """Return the convention that one echo is a full turn of, where that cannot be part of a turn of all echoes' unit.

    Parameters
    ----------
    unit
        What all echoes together were taken for.
    smallest, largest
        Values of the one echo.

    Returns
    -------
    PhaseUnit or None
        A convention with another zero, or a turn too narrow to be the range of an early echo in the unit of all.
    """
    other = turn_filled_by(smallest, largest)
    if other is None or unit.filled_by(smallest, largest):
        return None
    narrow = other.rad_per_unit > NARROW * unit.rad_per_unit
    return other if narrow or other.zero != unit.zero else None


def rescale_phase(
    data: ArrayLike, unit: str = "auto", name: str = "phase", *, accept_range: bool = False, overwrite: bool = False
) -> tuple[NDArray[np.float32], PhaseScaling]:
    """Convert phase to rad, recognising the usual ways of writing it.

    The observed extremes only decide *which* convention the values follow, never the factor: stretching a
    phase that does not reach its limits to 2 pi would change it.

    Parameters
    ----------
    data
        Phase of any shape.  Give all echoes together: one short echo alone may not fill its range.
    unit
        ``"auto"``, which takes the one convention of which the values are a full turn; a name of ``UNITS``; or
        ``"LOW:HIGH"``, the values at both ends of one turn.  With a unit given, values may stay within less than a
        turn or exceed one (unwrapped phase), but not be exactly one turn of another convention.
    name
        What to call the data in messages, usually the file name.
    accept_range
        Accept a given unit whatever the range.
    overwrite
        Convert an array in single precision where it is, instead of a copy.

    Returns
    -------
    phase_rad : ndarray, float32
        Wrapped to [-pi, pi] where the values stay within one turn, unwrapped as given otherwise.
    scaling : PhaseScaling
        The unit and the conversion.

    Raises
    ------
    DataError
        If values are not finite or constant, or if the unit is ambiguous or contradicts the range.
    ParameterError
        If ``unit`` is unknown.
    """
    values = floating_image(name, data) if isinstance(data, np.ma.MaskedArray) else image_array(name, data)
    if values.dtype.kind not in "biuf" or values.size == 0:
        raise DataError(f"{name}: expected real phase values, found {values.dtype} of shape {values.shape}")
    smallest, largest = float(np.min(values)), float(np.max(values))
    if not (math.isfinite(smallest) and math.isfinite(largest)):
        count = values.size - int(np.count_nonzero(np.isfinite(values)))
        raise DataError(f"{name}: {count} values are not finite; set them to 0 outside the mask")
    if unit == "auto":
        chosen = _recognise(values, smallest, largest, name)
    else:
        chosen = phase_unit(str(unit))
        if not accept_range:
            _check_stated(chosen, smallest, largest, name)

    phase = values.astype(np.float32, copy=not overwrite)
    zero, factor = np.float32(chosen.zero), np.float32(chosen.rad_per_unit)
    if zero != 0:
        phase -= zero
    if factor != 1:
        phase *= factor
    reach = max(float((np.float32(end) - zero) * factor) * sign for end, sign in ((largest, 1), (smallest, -1)))
    if chosen.contains(smallest, largest) and reach > np.float32(math.pi):
        _wrap_in_place(phase)
    scaling = PhaseScaling(
        chosen.name, chosen.description, chosen.rad_per_unit, chosen.zero, smallest, largest, unit == "auto"
    )
    logger.info("%s: values from %g to %g taken as %s", name, smallest, largest, chosen.description)
    return phase, scaling


def _recognise(values: NDArray, smallest: float, largest: float, name: str) -> PhaseUnit:
    found = f"{name}: values from {smallest:g} to {largest:g}"
    advice = f"say which unit it is ({', '.join(UNITS)}, or LOW:HIGH, both ends of one turn)"
    if smallest == largest:
        raise DataError(f"{found} are constant: this is not a phase image")
    in_rad = [
        unit for unit in UNITS.values() if unit.name in {"rad", "rad-positive"} and unit.contains(smallest, largest)
    ]
    if in_rad and largest - smallest >= RADIAN_SHARE * 2 * math.pi:
        if _whole(values):
            raise DataError(f"{found} are all integers: radians rounded by a conversion have lost their information")
        return in_rad[0]
    full = turn_filled_by(smallest, largest)
    if full is not None and not (full.high - full.low <= 2 and _whole(values)):
        return full
    possible = "; ".join(unit.description for unit in UNITS.values() if unit.contains(smallest, largest))
    magnitude = "; if it is the magnitude, exchange the two" if smallest >= 0 else ""
    raise DataError(
        f"{found} are not one full turn of a known convention (possible: {possible or 'none'}); {advice}{magnitude}"
    )


def _check_stated(unit: PhaseUnit, smallest: float, largest: float, name: str) -> None:
    """Refuse values that are exactly one turn of another convention, or next to nothing of the stated one."""
    found = f"{name}: values from {smallest:g} to {largest:g}"
    others = [
        other
        for other in UNITS.values()
        if other.filled_by(smallest, largest) and not math.isclose(other.rad_per_unit, unit.rad_per_unit, rel_tol=0.1)
    ]
    if others and not unit.filled_by(smallest, largest):
        raise DataError(
            f"{found} are exactly one turn as {others[0].description}, not as {unit.description}; say --phase-unit "
            f"{others[0].name}, or insist with --accept-range"
        )
    share = (largest - smallest) * unit.rad_per_unit / (2 * math.pi)
    if share < SMALLEST_SHARE:
        raise DataError(
            f"{found} are {share:.2g} of a turn as {unit.description}, less than noise; say the unit that makes them a "
            "turn (--phase-unit, or LOW:HIGH, both ends of one turn), or insist with --accept-range"
        )


def _whole(values: NDArray) -> bool:
    """Whether all values are whole numbers; a few of them mostly say that they are not."""
    return all(bool(np.all(np.rint(some) == some)) for some in (values[:1], values[len(values) // 2 :][:1], values))


def _wrap_in_place(phase: NDArray[np.float32]) -> None:
    """Bring values of a little more than one turn to [-pi, pi]."""
    two_pi = np.float32(2.0 * math.pi)
    phase[phase > np.float32(math.pi)] -= two_pi
    phase[phase < np.float32(-math.pi)] += two_pi
