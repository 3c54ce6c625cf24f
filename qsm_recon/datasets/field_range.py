"""Is the stated unit of a field possible?  A wrong unit silently changes every regularisation weight."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import DataError, ParameterError, did_you_mean
from qsm_recon.file_names import sidecar_of
from qsm_recon.io import read_json
from qsm_recon.units import hz_to_ppm, rad_to_ppm

FIELD_UNITS = ("ppm", "ppb", "Hz", "rad", "rad/s")
OTHER_UNITS = ("T", "tesla")
"""Units of field maps that JSON files of images may say, and that are not read."""

LARGEST_SPREAD_PPM = 0.4
"""Half of the voxels of a head deviate less than this from the median, even in an unshimmed total field."""
LARGEST_DEVIATION_PPM = 10.0
"""99 % of the voxels of a head deviate less than this from the median; air differs from tissue by 9.4 ppm."""
SMALLEST_DEVIATION_PPM = {"ppm": 1e-4, "ppb": 1e-4, "Hz": 1e-3, "rad": 1e-3, "rad/s": 1e-3}
"""1 % of the voxels of any head deviate more than this."""
USUAL_LOCAL_SPREAD_PPM = 0.02
"""Half of the voxels of a head deviate much less than this from the median of a local field (0.002 to 0.006 in those
at hand)."""
MOST_OF_RANGE, FEWEST_JUMPS = 0.7, 20
"""Share of the range of all values by which neighbours differ at a wrap, and the fewest such pairs that count.  Fields
of heads at hand have none, those beside the smallest bleedings 8, and wrapped ones from 70 to some thousands."""
SMOOTH_RATIO = 6.0
"""Median deviation over median second difference, above which a field is smooth: background, not a wrong unit."""


def check_field_unit(unit: str) -> None:
    """Check the name of a unit.

    Raises
    ------
    ParameterError
        If it is unknown.
    """
    if unit not in FIELD_UNITS:
        raise ParameterError(f"field unit '{unit}' is unknown{did_you_mean(unit, FIELD_UNITS)}")


def check_against_sidecar(path: Path, unit: str) -> None:
    """Check the unit that is given against the ``Units`` of the JSON file beside a field map, where this has one.

    Raises
    ------
    DataError
        If it is another one, or the file cannot be read.
    """
    sidecar = sidecar_of(path)
    stated = read_json(sidecar).get("Units") if sidecar.is_file() else None
    known = {name.lower() for name in FIELD_UNITS + OTHER_UNITS}
    if isinstance(stated, str) and stated.strip().lower() in known - {unit.lower()}:
        raise DataError(
            f"{path}: its JSON file says that it is in {stated}, but {unit} is given; correct the one that is wrong "
            "(--field-unit, or Units)"
        )


def to_ppm(
    values: NDArray[np.floating], unit: str, b0_tesla: float | None, echo_times_s: tuple[float, ...], name: str
) -> tuple[NDArray[np.floating], str | None]:
    """Convert a field map to ppm.

    Parameters
    ----------
    values
        Field in ``unit``, with the sign of the susceptibility.
    unit
        ``ppm``, ``ppb``, ``Hz``, ``rad/s`` or ``rad`` (unwrapped phase at one echo time).
    b0_tesla
        Field strength in T, needed for Hz, rad/s and rad.
    echo_times_s
        The one echo time in s, needed for rad.
    name
        File named in errors.

    Returns
    -------
    field_ppm, note
        The converted field, and what was done (None for ppm).

    Raises
    ------
    DataError
        If field strength or echo time are missing.
    """
    check_field_unit(unit)
    if unit == "ppm":
        return values, None
    if unit == "ppb":
        return values * np.float32(1e-3), f"{name}: converted from ppb to ppm"
    if b0_tesla is None:
        raise DataError(f"{name}: a field in {unit} needs the field strength to become ppm; give B0 in tesla (--b0)")
    if unit in ("Hz", "rad/s"):
        frequency = values if unit == "Hz" else values / np.float32(2.0 * math.pi)
        return hz_to_ppm(frequency, b0_tesla), f"{name}: converted from {unit} to ppm at {b0_tesla:g} T"
    if len(echo_times_s) != 1:
        raise DataError(
            f"{name}: a field in rad needs the one echo time at which it is the phase, found "
            f"{len(echo_times_s)} echo times; give it in seconds (--te)"
        )
    time = echo_times_s[0]
    return (
        rad_to_ppm(values, b0_tesla, time),
        f"{name}: converted from rad to ppm at {b0_tesla:g} T and an echo time of {1e3 * time:g} ms",
    )


def check_field_range(field_ppm: NDArray[np.floating], mask: NDArray[np.bool_], unit: str, name: str) -> None:
    """Refuse a field whose range no head can have, so that the stated unit must be wrong.

    The limits are wide: what passes need not be right.  Deviations are taken from the median, since a constant
    offset of the field has no effect.

    Parameters
    ----------
    field_ppm
        The field after conversion to ppm.
    mask
        Where to look.
    unit
        The unit stated.
    name
        File named in errors.

    Raises
    ------
    DataError
        With the percentiles found.
    """
    inside = field_ppm[mask].astype(np.float64)
    deviation = np.abs(inside - np.median(inside))
    middle, high = (float(p) for p in np.percentile(deviation, (50, 99)))
    if float(deviation.max()) == 0:
        raise DataError(f"{name}: the field is {inside[0]:g} everywhere inside the mask; give another image")
    origin = "" if unit == "ppm" else f" after conversion from {unit}"
    found = (
        f"{name}: the field deviates from its median by {middle:.3g} ppm in half of the mask and by {high:.3g} ppm "
        f"in 1 % of it{origin}"
    )
    override = "or insist with --accept-range"
    if middle > LARGEST_SPREAD_PPM or high > LARGEST_DEVIATION_PPM:
        advice = (
            "it is probably in ppb, Hz, rad or rad/s: state the unit (--field-unit)"
            if unit == "ppm"
            else "check unit, field strength and echo time (--field-unit, --b0, --te)"
        )
        raise DataError(
            f"{found}, too much for any head (below {LARGEST_SPREAD_PPM:g} and 10 ppm); {advice}, {override}"
        )
    if high < SMALLEST_DEVIATION_PPM[unit]:
        advice = (
            "it is probably a fraction of B0 or in tesla: multiply it to ppm"
            if unit == "ppm"
            else "it is probably in ppm already: state the unit (--field-unit ppm)"
        )
        raise DataError(f"{found}, too little for any head; {advice}, {override}")


def unusual_spread(field_ppm: NDArray[np.floating], mask: NDArray[np.bool_]) -> str | None:
    """Describe a field that varies as finely as a local one, but several times as much as any head's.

    Such a field is probably in another unit: taking rad/s for Hz, ppb for Hz or rad for ppm multiplies it by 6 to 20,
    which the wide limits of :func:`check_field_range` let pass.

    Parameters
    ----------
    field_ppm
        The field after conversion to ppm.
    mask
        Where to look.
    """
    inside = field_ppm[mask].astype(np.float64)
    spread = float(np.median(np.abs(inside - np.median(inside))))
    if spread < USUAL_LOCAL_SPREAD_PPM:
        return None
    bends = []
    for axis in range(3):
        field, known = np.moveaxis(field_ppm, axis, 0), np.moveaxis(mask, axis, 0)
        inner = known[2:] & known[1:-1] & known[:-2]
        bends.append(np.abs(field[2:] - 2 * field[1:-1] + field[:-2])[inner])
    roughness = float(np.median(np.concatenate(bends))) if any(bend.size for bend in bends) else 0.0
    if spread > SMOOTH_RATIO * roughness:
        return None
    return (
        f"the field varies as finely as a local one, but half of its voxels deviate by {spread:.2g} ppm from its "
        "median, several times as much as in a head; if that is not expected check unit, field strength and echo time"
    )


def wraps(field: NDArray[np.floating], mask: NDArray[np.bool_]) -> str | None:
    """Describe a field that looks wrapped: neighbours that differ by most of the range of its values.

    A wrapped phase, and a frequency that is one divided by a time, end at plus and minus half a turn, and jump from one
    end to the other between neighbours.  A field that is not wrapped hardly does so anywhere, in whatever unit.

    Parameters
    ----------
    field
        Field map of any unit.
    mask
        Where to look.
    """
    inside = field[mask]
    low, high = float(inside.min()), float(inside.max())
    jumps = 0
    for axis in range(3):
        values, known = np.moveaxis(field, axis, 0), np.moveaxis(mask, axis, 0)
        steps = np.abs(values[1:] - values[:-1])[known[1:] & known[:-1]]
        jumps += int(np.count_nonzero(steps > MOST_OF_RANGE * (high - low)))
    if jumps < FEWEST_JUMPS:
        return None
    return (
        f"the field looks wrapped: {jumps} pairs of neighbours differ by most of the range of its values, "
        f"{low:.4g} to {high:.4g}; unwrap it, or give phase and magnitude of the echoes (--phase, --magnitude), which "
        "are unwrapped here"
    )
