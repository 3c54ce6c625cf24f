"""Phase in whatever unit a scanner or converter wrote, brought to rad."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qsm_recon.errors import DataError, ParameterError, did_you_mean

logger = logging.getLogger(__name__)

TOLERANCE = 0.01
"""How far outside a convention's range values may lie, as a fraction of one turn (rounding, interpolation)."""
END_MARGIN = 0.01
"""How near both ends of the range values must come, as a fraction of one turn, for a unit other than rad.

A wrapped phase image with noise in its background fills its range; one that ends short of it could be cut from a
wider range, and is refused rather than stretched."""
TURN_MARGIN = 0.55
"""Values within this size could be turns, ppm or rad: too small to tell."""


@dataclass(frozen=True)
class PhaseUnit:
    """A way of writing phase: ``low`` ... ``high`` is one turn, ``zero`` is the value of phase 0."""

    name: str
    low: float
    high: float
    zero: float
    description: str
    recognised: bool = True

    @property
    def rad_per_unit(self) -> float:
        """Radians per unit."""
        return 2.0 * math.pi / (self.high - self.low)

    def contains(self, smallest: float, largest: float) -> bool:
        """Tell whether values in this range are possible."""
        slack = TOLERANCE * (self.high - self.low)
        return self.low - slack <= smallest and largest <= self.high + slack

    def filled_by(self, smallest: float, largest: float) -> bool:
        """Tell whether values in this range reach both ends."""
        margin = END_MARGIN * (self.high - self.low)
        return smallest <= self.low + margin and largest >= self.high - margin


UNITS = {
    unit.name: unit
    for unit in (
        PhaseUnit("rad", -math.pi, math.pi, 0.0, "radians, -pi to pi"),
        PhaseUnit("rad-positive", 0.0, 2.0 * math.pi, 0.0, "radians, 0 to 2 pi"),
        PhaseUnit("degrees", -180.0, 180.0, 0.0, "degrees, -180 to 180"),
        PhaseUnit("degrees-positive", 0.0, 360.0, 0.0, "degrees, 0 to 360"),
        PhaseUnit("signed-500", -500.0, 500.0, 0.0, "scaled integers, -500 to 500 for -pi to pi"),
        PhaseUnit("milliradians", -1000 * math.pi, 1000 * math.pi, 0.0, "milliradians, -3142 to 3142"),
        PhaseUnit("unsigned-4096", 0.0, 4096.0, 2048.0, "12-bit integers, 0 to 4095 for -pi to pi"),
        PhaseUnit("signed-4096", -4096.0, 4096.0, 0.0, "scaled integers, -4096 to 4095 for -pi to pi"),
        PhaseUnit("turns", -0.5, 0.5, 0.0, "turns, -0.5 to 0.5", recognised=False),
    )
}


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


def rescale_phase(data: ArrayLike, unit: str = "auto", name: str = "phase") -> tuple[NDArray[np.float32], PhaseScaling]:
    """Convert phase to rad, recognising the usual ways of writing it.

    The observed extremes only decide *which* convention the values follow, never the factor: stretching a
    phase that does not reach its limits to 2 pi would change it.

    Parameters
    ----------
    data
        Phase of any shape.  Give all echoes together: one short echo alone may not fill its range.
    unit
        ``"auto"``, or one of ``rad``, ``rad-positive``, ``degrees``, ``degrees-positive``, ``milliradians``,
        ``signed-500``, ``unsigned-4096``, ``signed-4096``, ``turns``.  A named unit is trusted and may exceed
        one turn (unwrapped phase).
    name
        What to call the data in messages, usually the file name.

    Returns
    -------
    phase_rad : ndarray, float32
        Wrapped to [-pi, pi] where the values stay within one turn, unwrapped as given otherwise.
    scaling : PhaseScaling
        The unit and the conversion.

    Raises
    ------
    DataError
        If values are not finite or constant, or if the unit is ambiguous.
    ParameterError
        If ``unit`` is unknown.
    """
    values = np.asarray(data)
    if np.iscomplexobj(values) or values.size == 0:
        raise DataError(f"{name}: expected real phase values, found {values.dtype} of shape {values.shape}")
    smallest, largest = float(np.min(values)), float(np.max(values))
    if not (math.isfinite(smallest) and math.isfinite(largest)):
        count = values.size - int(np.count_nonzero(np.isfinite(values)))
        raise DataError(f"{name}: {count} values are not finite; set them to 0 outside the mask")
    if unit == "auto":
        chosen = _recognise(values, smallest, largest, name)
    elif unit in UNITS:
        chosen = UNITS[unit]
    else:
        raise ParameterError(f"phase unit '{unit}' is unknown{did_you_mean(unit, ['auto', *UNITS])}")

    phase = values.astype(np.float32)
    phase -= np.float32(chosen.zero)
    phase *= np.float32(chosen.rad_per_unit)
    if chosen.contains(smallest, largest):
        _wrap_in_place(phase)
    scaling = PhaseScaling(
        chosen.name, chosen.description, chosen.rad_per_unit, chosen.zero, smallest, largest, unit == "auto"
    )
    logger.info("%s: values from %g to %g taken as %s", name, smallest, largest, chosen.description)
    return phase, scaling


def _recognise(values: NDArray, smallest: float, largest: float, name: str) -> PhaseUnit:
    found = f"{name}: values from {smallest:g} to {largest:g}"
    advice = f"say which unit it is ({', '.join(UNITS)})"
    if smallest == largest:
        raise DataError(f"{found} are constant: this is not a phase image")
    possible = [unit for unit in UNITS.values() if unit.recognised and unit.contains(smallest, largest)]
    size = max(abs(smallest), abs(largest))

    in_rad = [unit for unit in possible if unit.name in {"rad", "rad-positive"}]
    if in_rad:
        if size <= TURN_MARGIN:
            raise DataError(f"{found} are too small to tell radians from turns or from a field in ppm; {advice}")
        if np.all(np.rint(values) == values):
            raise DataError(f"{found} are all integers: radians rounded by a conversion have lost their information")
        return in_rad[0]

    full = [unit for unit in possible if unit.filled_by(smallest, largest)]
    if len(full) == 1:
        return full[0]
    listed = "; ".join(unit.description for unit in possible) or "none of the known conventions"
    raise DataError(
        f"{found} do not fill one turn of any known convention, or fit several (possible: {listed}); {advice}"
    )


def _wrap_in_place(phase: NDArray[np.float32]) -> None:
    """Bring values of a little more than one turn to [-pi, pi]."""
    two_pi = np.float32(2.0 * math.pi)
    phase[phase > np.float32(math.pi)] -= two_pi
    phase[phase < np.float32(-math.pi)] += two_pi
