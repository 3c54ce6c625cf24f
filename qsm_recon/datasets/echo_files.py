"""Magnitude and phase files of the echoes: read, checked against each other, and made a field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qsm_recon.datasets.assembly import Assembly, ScanSettings, named
from qsm_recon.datasets.echo_order import check_strength, check_times, sidecar_values
from qsm_recon.datasets.images import EchoImages, PathLike, as_paths, load_echoes, require_same_echoes
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.field import EchoSeries, rescale_phase
from qsm_recon.field.masking import signal_mask
from qsm_recon.field.phase_scale import PhaseUnit, phase_unit, turn_filled_by, unit_of_its_own
from qsm_recon.io import Image, is_complex, require_same_geometry
from qsm_recon.problem import finite_in_mask, require_non_negative

LEAST_OUTSIDE = 1000
"""Voxels outside the mask needed to tell a phase from a magnitude by its background."""


@dataclass(frozen=True)
class EchoReading:
    """How echoes are to be read.

    Parameters
    ----------
    method
        ``fit`` or ``difference``, see :func:`qsm_recon.field.estimate_field`.
    phase_unit
        See :func:`qsm_recon.field.rescale_phase`.
    phase_sign
        ``positive`` or ``negative``.
    bipolar
        ``auto``, ``yes`` or ``no``.
    accept_range
        Accept a phase whose range does not fit its unit.
    """

    method: str = "fit"
    phase_unit: str = "auto"
    phase_sign: str = "positive"
    bipolar: str = "auto"
    accept_range: bool = False


def load_polar(
    magnitude: PathLike | Sequence[PathLike] | None, phase: PathLike | Sequence[PathLike]
) -> tuple[EchoImages, EchoImages]:
    """Read magnitude and phase, each one 3D or 4D file or one 3D file per echo; a complex phase gives both.

    Raises
    ------
    DataError
        If the files cannot be read or do not belong together.
    ParameterError
        If the magnitude is missing.
    """
    if magnitude is None and not is_complex(as_paths(phase)[0]):
        raise ParameterError("phase: its magnitude is needed too (--magnitude), one image for every echo")
    angles = load_echoes(phase, "phase")
    amplitudes = load_echoes(phase if magnitude is None else magnitude, "magnitude")
    require_same_echoes(amplitudes, angles)
    return amplitudes, angles


def load_parts(
    real: PathLike | Sequence[PathLike], imaginary: PathLike | Sequence[PathLike]
) -> tuple[EchoImages, EchoImages]:
    """Read real and imaginary part, in files as for :func:`load_polar`, and return magnitude and phase.

    Raises
    ------
    DataError
        If the files cannot be read or do not belong together.
    """
    first, second = load_echoes(real, "real"), load_echoes(imaginary, "imaginary")
    require_same_echoes(first, second)
    if first.data.min() >= 0 or second.data.min() >= 0:
        name = first.source if first.data.min() >= 0 else second.source
        raise DataError(f"{name}: a real or imaginary part has both signs, found no negative value; is it a magnitude?")
    polar = replace(first.first, complex_valued=True)
    return (
        replace(first, data=np.hypot(first.data, second.data), first=polar),
        replace(second, data=np.arctan2(second.data, first.data), first=polar),
    )


def read_echoes(
    acquisition: ScanSettings, magnitude: EchoImages, phase: EchoImages, mask: Image | None, reading: EchoReading
) -> tuple[Assembly, Image]:
    """Check magnitude and phase and estimate the field.

    Parameters
    ----------
    acquisition
        What is known; echo times and field strength are taken from the JSON files beside the phase where they are
        missing.
    magnitude, phase
        What :func:`load_polar` or :func:`load_parts` returned.
    mask
        Where to estimate; None makes one.
    reading
        How to read them.

    Returns
    -------
    gathered, reference
        The parts of the problem, and the image that gives the geometry.

    Raises
    ------
    DataError
        If the files do not fit together or cannot be a magnitude and its phase, or their JSON files say other echo
        times or another field strength, or impossible ones.
    ParameterError
        If the field strength is missing.
    """
    if mask is not None:
        require_same_geometry(phase.as_image, mask)
    acquisition, notes = _from_sidecars(acquisition, phase, magnitude)
    gathered = Assembly(acquisition, notes=[*magnitude.notes, *phase.notes, *notes])
    if acquisition.b0_tesla is None:
        raise ParameterError(f"{phase.source}: the field strength in T is needed to turn phase into a field (--b0)")
    n_times = len(acquisition.echo_times_s)
    if n_times != phase.count:
        raise DataError(
            f"{phase.source}: {phase.count} image(s) but {n_times} echo time(s); give one in seconds per echo (--te)"
        )
    if mask is None:
        inside = np.zeros(phase.data.shape[:3], bool)
        _take_signal_from_unknown(magnitude, phase, gathered.notes)
    else:
        inside = mask.data
    amplitude = check_echo_values(magnitude, inside, gathered.notes, non_negative=True)
    angle = _phase_in_rad(phase, check_echo_values(phase, inside, gathered.notes), reading, gathered.notes)
    _require_not_exchanged(magnitude, inside)
    grid = acquisition.grid(phase.as_image)
    with named({"magnitude": magnitude.source, "phase": phase.source}):
        if mask is None:
            series = EchoSeries(amplitude, angle, acquisition.echo_times_s, acquisition.b0_tesla)
            inside, facts = signal_mask(series, grid.voxel_size_mm)
            gathered.note_mask(
                inside,
                "from phase quality above {phase_quality_above:g} and magnitude above {magnitude_above:.4g}".format(
                    **facts
                ),
            )
        series = gathered.add_echoes(amplitude, angle, inside)
        gathered.add_estimated_field(series, reading.method, grid, reading.bipolar)
    gathered.sources.update(field=f"{phase.source} ({reading.method} of the echoes)", magnitude=magnitude.source)
    gathered.sources["phase"] = phase.source
    return gathered, phase.as_image


def _from_sidecars(
    acquisition: ScanSettings, phase: EchoImages, magnitude: EchoImages
) -> tuple[ScanSettings, list[str]]:
    """Take what is missing from the JSON files beside the phase, and check all against those beside either image."""
    notes = []
    if not acquisition.echo_times_s and (times := sidecar_values(phase.paths, "EchoTime")):
        try:
            acquisition = replace(acquisition, echo_times_s=times)
        except DataError as error:
            raise DataError(f"{phase.paths[0]}: EchoTime of its JSON file: {error}") from error
        notes.append(f"echo times from the JSON files beside the phase: {', '.join(f'{t:g}' for t in times)} s")
    if acquisition.b0_tesla is None:
        strengths = set(sidecar_values(phase.paths, "MagneticFieldStrength"))
        if len(strengths) > 1:
            raise DataError(
                f"{phase.paths[0]}: MagneticFieldStrength differs between the JSON files of its echoes: "
                f"{sorted(strengths)}; correct them"
            )
        if strengths:
            acquisition = replace(acquisition, b0_tesla=strengths.pop())
            notes.append(f"field strength from the JSON files beside the phase: {acquisition.b0_tesla:g} T")
    for image in (phase, magnitude):
        check_times(image.paths, acquisition.echo_times_s)
        check_strength(image.paths, acquisition.b0_tesla)
    return acquisition, notes


def _take_signal_from_unknown(magnitude: EchoImages, phase: EchoImages, notes: list[str]) -> None:
    """Set voxels to zero that are not finite in an echo, for a mask that is made to leave them out."""
    images = magnitude.data, phase.data
    if all(np.isfinite(image.min()) and np.isfinite(image.max()) for image in images):
        return
    unknown = ~(np.isfinite(magnitude.data).all(axis=3) & np.isfinite(phase.data).all(axis=3))
    for image in images:
        image[unknown] = 0
    notes.append(
        f"{phase.source}: {int(unknown.sum())} voxels are NaN or infinite in an echo of phase or magnitude, and count "
        "as without signal"
    )


def _phase_in_rad(
    phase: EchoImages, values: NDArray[np.float32], reading: EchoReading, notes: list[str]
) -> NDArray[np.float32]:
    """The phase in rad with the sign of the frequency; converted where it is, as nobody asks for the stored values."""
    angle = values
    if not phase.first.complex_valued:
        ranges = echo_ranges(values)
        angle, scaling = rescale_phase(
            values, reading.phase_unit, phase.source, accept_range=reading.accept_range, overwrite=True
        )
        if not reading.accept_range:
            _require_one_unit(phase, ranges, phase_unit(scaling.unit))
        if scaling.unit != "rad":
            text = f"phase: values from {scaling.smallest:g} to {scaling.largest:g} taken as {scaling.description}"
            notes.append(text)
    if reading.phase_sign == "negative":
        notes.append("phase: taken with the opposite sign (--phase-sign negative)")
        np.negative(angle, out=angle)
    return angle


def _require_one_unit(phase: EchoImages, ranges: list[tuple[float, float]], unit: PhaseUnit) -> None:
    """Refuse an echo that was written in another unit than the echoes together are taken for."""
    for index, (smallest, largest) in enumerate(ranges):
        other = unit_of_its_own(unit, smallest, largest)
        if other is not None:
            raise DataError(
                f"{phase.file_of(index)}: values from {smallest:g} to {largest:g} are one turn as {other.description}, "
                f"but all echoes together as {unit.description}; convert the echoes to one unit, or insist with "
                "--accept-range"
            )


def _require_not_exchanged(magnitude: EchoImages, mask: NDArray[np.bool_]) -> None:
    """Refuse a magnitude whose values spread evenly over one turn where a magnitude shows air."""
    unit = turn_filled_by(float(magnitude.data.min()), float(magnitude.data.max()))
    if not mask.any() or unit is None or mask.size - np.count_nonzero(mask) < LEAST_OUTSIDE:
        return
    outside = magnitude.data[..., 0][~mask]
    width = unit.high - unit.low
    centred = abs(float(outside.mean()) - (unit.low + unit.high) / 2) < 0.1 * width
    if centred and abs(float(outside.std()) * np.sqrt(12) / width - 1) < 0.15:
        raise DataError(
            f"{magnitude.source}: given as magnitude, but its values spread evenly over {unit.description} outside the "
            "mask, as a phase does; were magnitude and phase exchanged?"
        )


def echo_ranges(values: NDArray[np.float32]) -> list[tuple[float, float]]:
    """Return the smallest and the largest value of each echo of (nx, ny, nz, n); NaN where there is one."""
    # Over the first axis for all echoes at once: quicker than echo by echo.
    low, high = (of(of(values, axis=0), axis=(0, 1)) for of in (np.min, np.max))
    return [(float(first), float(last)) for first, last in zip(low, high, strict=True)]


def check_echo_values(
    echoes: EchoImages, mask: NDArray[np.bool_], notes: list[str], *, non_negative: bool = False
) -> NDArray[np.float32]:
    """Return the data with non-finite values outside the mask set to zero; errors name the file of the echo."""
    data = echoes.data
    ranges = echo_ranges(data)
    sound = bool(np.isfinite(ranges).all())
    if sound and not non_negative:
        return data
    for index in range(echoes.count):
        name, image = echoes.file_of(index), echoes.data[..., index]
        clean = image if sound else finite_in_mask(name, image, mask, notes)
        if clean is not image:
            image[...] = clean
        if non_negative:
            smallest = ranges[index][0] if sound else float(image.min())
            if smallest < 0:
                raise DataError(
                    f"{name}: a magnitude has no negative values, found {smallest:g}; were magnitude and phase "
                    "exchanged?"
                )
            if mask.any():
                require_non_negative(name, image, mask)
    return echoes.data
