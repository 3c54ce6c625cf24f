"""A case from the user's own NIfTI files: a field map, or magnitude and phase of the echoes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qsm_recon.datasets.assembly import Acquisition, Assembly, named
from qsm_recon.datasets.case import Case
from qsm_recon.datasets.field_range import check_field_range, check_field_unit, to_ppm
from qsm_recon.datasets.images import (
    EchoImages,
    PathLike,
    load_echoes,
    load_truth,
    require_same_echoes,
    root_sum_of_squares,
)
from qsm_recon.errors import DataError, ParameterError, did_you_mean
from qsm_recon.field import rescale_phase
from qsm_recon.field.estimate import METHODS
from qsm_recon.io import Image, load_image, load_mask, require_same_geometry
from qsm_recon.problem import FieldKind, finite_in_mask, require_non_negative


def case_from_files(
    *,
    mask: PathLike | None,
    field: PathLike | None = None,
    field_unit: str = "ppm",
    phase: PathLike | Sequence[PathLike] | None = None,
    magnitude: PathLike | Sequence[PathLike] | None = None,
    weight: PathLike | None = None,
    field_estimate: str = "fit",
    phase_unit: str = "auto",
    b0_tesla: float | None = None,
    echo_times_s: Sequence[float] = (),
    b0_direction: ArrayLike | None = None,
    truth: PathLike | None = None,
    labels: PathLike | None = None,
    evaluation_mask: PathLike | None = None,
    calcification_moment: float | None = None,
    accept_range: bool = False,
    field_kind: FieldKind = "unknown",
    name: str | None = None,
) -> Case:
    """Read a case from files: either a field map, or magnitude and phase from which the field is estimated.

    Parameters
    ----------
    mask
        Binary mask of the voxels to reconstruct.
    field
        Local (or total) field map with the sign of the susceptibility; excludes ``phase``.
    field_unit
        Unit of the field map: ``ppm``, ``Hz`` (needs B0) or ``rad`` (unwrapped; needs B0 and one echo time).
    phase
        Phase of the echoes, one 3D or 4D file or one 3D file per echo; needs magnitude, echo times and B0.
    magnitude
        With a phase, its magnitude.  With a field map one 3D image, or several echoes if every one has an echo
        time; these are combined by the root of the sum of squares.
    weight
        Data weight, any scale.
    field_estimate
        ``fit`` or ``difference``, see :func:`qsm_recon.field.estimate_field`.
    phase_unit
        ``auto`` or a unit of :func:`qsm_recon.field.rescale_phase`.
    b0_tesla
        Field strength in T.
    echo_times_s
        Echo times in s, increasing.
    b0_direction
        Direction of the main field in voxel axes; by default from the affine.
    truth, labels, evaluation_mask
        True susceptibility in ppm, label map, and where to compare.
    calcification_moment
        True moment of the calcification in ppm × voxels, where known.
    accept_range
        Accept a field whose range looks impossible for its unit.
    field_kind
        Whether the field is known to be local or total, see :class:`qsm_recon.problem.Problem`.
    name
        Name of the case; by default that of the field or phase file.

    Raises
    ------
    DataError
        If a file is missing, unreadable, inconsistent with another, or holds impossible values.
    ParameterError
        If arguments are missing, exclude each other, or are unknown.
    """
    check_field_unit(field_unit)
    phase, magnitude = phase or None, magnitude or None  # a command line gives an empty list where there is none
    _check_combination(field, phase, magnitude, mask, field_estimate, truth, labels, evaluation_mask)
    gathered = Assembly(Acquisition(b0_tesla, tuple(echo_times_s), b0_direction), field_kind=field_kind)
    mask_image = load_mask(mask)  # type: ignore[arg-type]  # _check_combination has seen to it
    if field is not None:
        reference = _read_field(gathered, field, field_unit, mask_image, accept_range)
        if magnitude is not None:
            _read_plain_magnitude(gathered, magnitude, reference, mask_image)
    else:
        images = load_echoes(magnitude, "magnitude"), load_echoes(phase, "phase")  # type: ignore[arg-type]
        reference = images[1].as_image
        _estimate(gathered, *images, mask_image, field_estimate, phase_unit)
    gathered.sources["mask"] = str(mask)
    if weight is not None:
        _read_weight(gathered, weight, reference, mask_image)
    known = None
    if truth is not None:
        arguments = reference, gathered.parts["mask"], gathered.sources, gathered.notes, calcification_moment
        known = load_truth(truth, labels, evaluation_mask, *arguments)
    return gathered.finish(reference, name or _plain_name(reference.path), known)


def _check_combination(
    field: PathLike | None,
    phase: object,
    magnitude: object,
    mask: PathLike | None,
    field_estimate: str,
    truth: PathLike | None,
    labels: PathLike | None,
    evaluation_mask: PathLike | None,
) -> None:
    if field is not None and phase is not None:
        raise ParameterError("give either a field map (--field) or magnitude and phase (--phase), not both")
    if field is None and phase is None:
        raise ParameterError("no data: give a field map (--field), or magnitude and phase (--magnitude, --phase)")
    if mask is None:
        raise ParameterError("no mask: give a binary image of the voxels to reconstruct (--mask)")
    if phase is not None and magnitude is None:
        raise ParameterError("phase: its magnitude is needed too (--magnitude), one image for every echo")
    if field_estimate not in METHODS:
        raise ParameterError(f"field estimate '{field_estimate}' is unknown{did_you_mean(field_estimate, METHODS)}")
    if truth is None and (labels is not None or evaluation_mask is not None):
        raise ParameterError("labels and evaluation mask serve the comparison with a truth; give that too (--truth)")


def _read_field(gathered: Assembly, path: PathLike, unit: str, mask: Image, accept_range: bool) -> Image:
    image = load_image(path)
    require_same_geometry(image, mask)
    values = finite_in_mask(str(path), image.data, mask.data, gathered.notes)
    field_ppm, note = to_ppm(values, unit, gathered.acquisition.b0_tesla, gathered.acquisition.echo_times_s, str(path))
    if note:
        gathered.notes.append(note)
    if not accept_range:
        check_field_range(field_ppm, mask.data, unit, str(path))
    gathered.parts.update(field_ppm=field_ppm.astype(np.float32, copy=False), mask=mask.data)
    gathered.sources["field"] = str(path)
    return image


def _read_plain_magnitude(
    gathered: Assembly,
    given: PathLike | Sequence[PathLike],
    reference: Image,
    mask: Image,
) -> None:
    """Read the magnitude that goes with a field map."""
    echoes = load_echoes(given, "magnitude")
    require_same_geometry(reference, echoes.as_image)
    if echoes.count == 1:
        combined = echoes.data[..., 0]
    elif echoes.count == len(gathered.acquisition.echo_times_s):
        _check_echo_values(echoes, mask.data, gathered.notes, non_negative=True)
        combined = root_sum_of_squares(echoes.data)
        gathered.notes.append(f"magnitude: {echoes.count} echoes combined by the root of the sum of squares")
    else:
        raise DataError(
            f"{echoes.source}: expected one 3D magnitude image, found {echoes.count} volumes; give the one that is "
            f"meant, or all echoes with one echo time each (found {len(gathered.acquisition.echo_times_s)})"
        )
    combined = finite_in_mask(echoes.source, combined, mask.data, gathered.notes)
    require_non_negative(echoes.source, combined, mask.data)
    gathered.parts["magnitude"] = combined
    gathered.sources["magnitude"] = echoes.source


def _read_weight(gathered: Assembly, path: PathLike, reference: Image, mask: Image) -> None:
    image = load_image(path)
    require_same_geometry(reference, image)
    values = finite_in_mask(str(path), image.data, mask.data, gathered.notes)
    require_non_negative(str(path), values, mask.data)
    gathered.parts["weight"] = values
    gathered.sources["weight"] = str(path)


def _estimate(
    gathered: Assembly,
    magnitude: EchoImages,
    phase: EchoImages,
    mask: Image,
    method: str,
    phase_unit: str,
) -> None:
    """Read the field from magnitude and phase."""
    require_same_echoes(magnitude, phase)
    require_same_geometry(phase.as_image, mask)
    if gathered.acquisition.b0_tesla is None:
        raise ParameterError(f"{phase.source}: the field strength in T is needed to turn phase into a field (--b0)")
    n_times = len(gathered.acquisition.echo_times_s)
    if n_times != phase.count:
        raise DataError(
            f"{phase.source}: {phase.count} image(s) but {n_times} echo time(s); give one in seconds per echo (--te)"
        )
    notes = gathered.notes
    amplitude = _check_echo_values(magnitude, mask.data, notes, non_negative=True)
    angle, scaling = rescale_phase(_check_echo_values(phase, mask.data, notes), phase_unit, phase.source)
    if scaling.unit != "rad":
        notes.append(f"phase: values from {scaling.smallest:g} to {scaling.largest:g} taken as {scaling.description}")
    with named({"magnitude": magnitude.source, "phase": phase.source}):
        gathered.add_estimated_field(gathered.add_echoes(amplitude, angle, mask.data), method)
    gathered.sources.update(field=f"{phase.source} ({method} of the echoes)", magnitude=magnitude.source)
    gathered.sources["phase"] = phase.source


def _check_echo_values(
    echoes: EchoImages, mask: NDArray[np.bool_], notes: list[str], *, non_negative: bool = False
) -> NDArray[np.float32]:
    """Return the data with non-finite values outside the mask set to zero; errors name the file of the echo."""
    for index in range(echoes.count):
        name, image = echoes.file_of(index), echoes.data[..., index]
        clean = finite_in_mask(name, image, mask, notes)
        if clean is not image:
            image[...] = clean
        if non_negative:
            require_non_negative(name, image, mask)
            if image.min() < 0:
                raise DataError(f"{name}: a magnitude has no negative values, found {image.min():g}")
    return echoes.data


def _plain_name(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")
