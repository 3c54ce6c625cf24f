"""A case from the user's own NIfTI files: a field map, or magnitude and phase of the echoes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qsm_recon.datasets.assembly import Assembly, ScanSettings
from qsm_recon.datasets.case import Case
from qsm_recon.datasets.echo_files import EchoReading, check_echo_values, load_parts, load_polar, read_echoes
from qsm_recon.datasets.echo_order import check_strength
from qsm_recon.datasets.field_range import (
    check_against_sidecar,
    check_field_range,
    check_field_unit,
    to_ppm,
    unusual_spread,
    wraps,
)
from qsm_recon.datasets.images import (
    EchoImages,
    PathLike,
    load_echoes,
    root_sum_of_squares,
)
from qsm_recon.datasets.options import BIPOLAR_CHOICES, PHASE_SIGNS
from qsm_recon.datasets.truth import load_truth
from qsm_recon.errors import DataError, ParameterError, did_you_mean
from qsm_recon.field.estimate import METHODS
from qsm_recon.field.masking import field_mask
from qsm_recon.file_names import plain_name
from qsm_recon.io import Image, load_image, load_mask, require_same_geometry
from qsm_recon.problem import FieldKind, check_echo_times, finite_in_mask, require_non_negative


def case_from_files(
    *,
    mask: PathLike | None = None,
    field: PathLike | None = None,
    field_unit: str = "ppm",
    phase: PathLike | Sequence[PathLike] | None = None,
    magnitude: PathLike | Sequence[PathLike] | None = None,
    real: PathLike | Sequence[PathLike] | None = None,
    imaginary: PathLike | Sequence[PathLike] | None = None,
    weight: PathLike | None = None,
    field_estimate: str = "fit",
    phase_unit: str = "auto",
    phase_sign: str = "positive",
    bipolar: str = "auto",
    b0_tesla: float | None = None,
    echo_times_s: float | Sequence[float] = (),
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
        Binary mask of the voxels to reconstruct; without one it is made, see :mod:`qsm_recon.field.masking`.
    field
        Local (or total) field map with the sign of the susceptibility; excludes ``phase``.
    field_unit
        Unit of the field map: ``ppm``, ``ppb``, ``Hz`` or ``rad/s`` (need B0) or ``rad`` (unwrapped; needs B0 and one
        echo time).
    phase
        Phase of the echoes, one 3D or 4D file or one 3D file per echo, or complex images; needs magnitude, echo times
        and B0.
    magnitude
        With a phase, its magnitude (may be left out where the phase is complex).  With a field map one 3D image, or
        several echoes if every one has an echo time; these are combined by the root of the sum of squares.
    real, imaginary
        Real and imaginary part of the echoes, instead of magnitude and phase.
    weight
        Data weight, any scale.
    field_estimate
        ``fit`` or ``difference``, see :func:`qsm_recon.field.estimate_field`.
    phase_unit
        ``auto`` or a unit of :func:`qsm_recon.field.rescale_phase`.
    phase_sign
        ``positive`` where phase grows with ``+2 pi * frequency * echo time``, else ``negative``.
    bipolar
        Whether odd and even echoes were read in opposite directions: ``yes``, ``no`` or ``auto``, which finds out.
    b0_tesla
        Field strength in T; with a phase, by default from the JSON files beside it.  Where JSON files beside the
        images say one, it must be the same to 5 %.
    echo_times_s
        Echo times in s, increasing; with one phase file per echo, by default from the JSON files beside them.
    b0_direction
        Direction of the main field in voxel axes; by default from the affine.
    truth, labels, evaluation_mask
        True susceptibility in ppm, label map, and where to compare.
    calcification_moment
        True moment of the calcification in ppm × voxels, where known.
    accept_range
        Accept a field or phase whose range looks impossible for its unit.
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
    one = {"mask": mask, "field": field, "weight": weight, "truth": truth, "labels": labels}
    several = {"phase": phase, "magnitude": magnitude, "real": real, "imaginary": imaginary}
    _require_files({**one, "evaluation_mask": evaluation_mask, **several})
    # A command line gives an empty list where there is none.
    phase, magnitude, real, imaginary = phase or None, magnitude or None, real or None, imaginary or None
    if real is not None or imaginary is not None:
        if real is None or imaginary is None or phase is not None or magnitude is not None:
            raise ParameterError(
                "give real and imaginary part (--real, --imaginary) together, without magnitude and phase"
            )
        phase = real
    _check_combination(field, phase, field_estimate, phase_sign, bipolar, truth, labels, evaluation_mask)
    mask_image = None if mask is None else load_mask(mask)
    acquisition = ScanSettings(b0_tesla, check_echo_times(echo_times_s), b0_direction)
    if field is not None:
        gathered = Assembly(acquisition)
        reference = _read_field(gathered, field, field_unit, magnitude, mask_image, accept_range)
    else:
        reading = EchoReading(field_estimate, phase_unit, phase_sign, bipolar, accept_range)
        images = load_parts(real, imaginary) if real and imaginary else load_polar(magnitude, phase)  # type: ignore[arg-type]
        gathered, reference = read_echoes(acquisition, *images, mask_image, reading)
    if mask_image is not None:
        gathered.sources["mask"] = str(mask)
    if weight is not None:
        _read_weight(gathered, weight, reference)
    known = None
    if truth is not None:
        arguments = reference, gathered.parts["mask"], gathered.sources, gathered.notes, calcification_moment
        known = load_truth(truth, labels, evaluation_mask, *arguments)
    gathered.field_kind = field_kind
    return gathered.finish(reference, name or plain_name(reference.path), known)


def _require_files(given: Mapping[str, object]) -> None:
    """Check that what is to be read are names of files: an array in memory has no header to say where it lies."""
    for name, files in given.items():
        several = files if isinstance(files, (list, tuple)) else [files]
        if wrong := [file for file in several if not (file is None or isinstance(file, (str, Path)))]:
            raise ParameterError(
                f"{name}: expected the name of a file, found {type(wrong[0]).__name__}; arrays go into a Problem: "
                "Problem(field_ppm, mask, grid)"
            )


def _check_combination(
    field: PathLike | None,
    phase: object,
    field_estimate: str,
    phase_sign: str,
    bipolar: str,
    truth: PathLike | None,
    labels: PathLike | None,
    evaluation_mask: PathLike | None,
) -> None:
    if field is not None and phase is not None:
        raise ParameterError("give either a field map (--field) or magnitude and phase (--phase), not both")
    if field is None and phase is None:
        raise ParameterError("no data: give a field map (--field), or magnitude and phase (--magnitude, --phase)")
    for what, value, known in (
        ("field estimate", field_estimate, METHODS),
        ("phase sign", phase_sign, PHASE_SIGNS),
        ("bipolar", bipolar, BIPOLAR_CHOICES),
    ):
        if value not in known:
            raise ParameterError(f"{what} '{value}' is unknown{did_you_mean(value, known)}")
    if truth is None and (labels is not None or evaluation_mask is not None):
        raise ParameterError("labels and evaluation mask serve the comparison with a truth; give that too (--truth)")


def _read_field(
    gathered: Assembly,
    path: PathLike,
    unit: str,
    magnitude: PathLike | Sequence[PathLike] | None,
    mask: Image | None,
    accept_range: bool,
) -> Image:
    image = load_image(path)
    check_against_sidecar(image.path, unit)
    echoes = None if magnitude is None else load_echoes(magnitude, "magnitude")
    check_strength((image.path, *(() if echoes is None else echoes.paths)), gathered.acquisition.b0_tesla)
    if echoes is not None:
        require_same_geometry(image, echoes.as_image)
    if mask is None:
        inside = _mask_of_field(gathered, image, echoes)
    else:
        require_same_geometry(image, mask)
        inside = mask.data
    values = finite_in_mask(str(path), image.data, inside, gathered.notes)
    field_ppm, note = to_ppm(values, unit, gathered.acquisition.b0_tesla, gathered.acquisition.echo_times_s, str(path))
    if note:
        gathered.notes.append(note)
    if not accept_range:
        check_field_range(field_ppm, inside, unit, str(path))
        for doubt in (unusual_spread(field_ppm, inside), wraps(values, inside)):
            if doubt is not None:
                gathered.warn(f"{path}: {doubt}")
    gathered.parts.update(field_ppm=field_ppm.astype(np.float32, copy=False), mask=inside)
    gathered.sources["field"] = str(path)
    if echoes is not None:
        _add_plain_magnitude(gathered, echoes)
    return image


def _mask_of_field(gathered: Assembly, image: Image, echoes: EchoImages | None) -> NDArray[np.bool_]:
    """Make a mask for a field map."""
    combined = None if echoes is None else root_sum_of_squares(np.nan_to_num(echoes.data))
    try:
        mask, origin = field_mask(image.data, combined, gathered.acquisition.grid(image).voxel_size_mm)
    except DataError as error:
        raise DataError(f"{image.path}: {error}") from error
    gathered.note_mask(mask, origin)
    return mask


def _add_plain_magnitude(gathered: Assembly, echoes: EchoImages) -> None:
    """Take the magnitude that goes with a field map."""
    mask = gathered.parts["mask"]
    if echoes.count == 1:
        combined = echoes.data[..., 0]
    elif echoes.count == len(gathered.acquisition.echo_times_s):
        check_echo_values(echoes, mask, gathered.notes, non_negative=True)
        combined = root_sum_of_squares(echoes.data)
        gathered.notes.append(f"magnitude: {echoes.count} echoes combined by the root of the sum of squares")
    else:
        raise DataError(
            f"{echoes.source}: expected one 3D magnitude image, found {echoes.count} volumes; give the one that is "
            f"meant, or all echoes with one echo time each (found {len(gathered.acquisition.echo_times_s)})"
        )
    combined = finite_in_mask(echoes.source, combined, mask, gathered.notes)
    require_non_negative(echoes.source, combined, mask)
    gathered.parts["magnitude"] = combined
    gathered.sources["magnitude"] = echoes.source
    gathered.notes.extend(echoes.notes)


def _read_weight(gathered: Assembly, path: PathLike, reference: Image) -> None:
    image = load_image(path)
    require_same_geometry(reference, image)
    mask = gathered.parts["mask"]
    values = finite_in_mask(str(path), image.data, mask, gathered.notes)
    require_non_negative(str(path), values, mask)
    gathered.parts["weight"] = values
    gathered.sources["weight"] = str(path)
