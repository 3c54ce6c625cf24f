"""The embedded phantom as a case: its echoes, or its noise-free field, with the truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qsm_recon.datasets.assembly import Assembly, ScanSettings
from qsm_recon.datasets.case import Case
from qsm_recon.datasets.options import (
    BIPOLAR_CHOICES,
    ECHO_OPTIONS,
    LoadSettings,
    choose_field,
    choose_setting,
    flag,
    number,
    numbers,
    whole_number,
)
from qsm_recon.datasets.truth import Truth
from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.io import Image
from qsm_recon.phantom import Phantom, PhantomParameters, build_phantom
from qsm_recon.phantom.lesions import Lesion, parse_lesions
from qsm_recon.phantom.presets import with_preset

OPTIONS = {
    "snr": "peak signal-to-noise ratio; 100 (default) and 1000 are the challenge's, inf for none",
    "size": "full (1 mm) or reduced (2 mm)",
    "field": "fit (default) or difference of the echoes, or true, the noise-free field",
    "seed": "selects the head",
    "noise_seed": "selects the noise",
    "b0": "field strength in T",
    "te": "echo times in s, separated by commas",
    "b0_direction": "direction of the main field in voxel axes, three numbers",
    "voxel_size": "image voxel in mm, three numbers",
    "background": "yes adds the field of the air around the head",
    "bipolar": ECHO_OPTIONS["bipolar"],
    "rf_phase": "amplitude in rad of a smooth phase at echo time zero",
    "anatomy": "published (default), textured, lesions or invivo: a set of the options below, which go before it",
    "texture": "standard deviation in ppm of texture added in all tissue, 0 to 0.05",
    "texture_slope": "the texture's power falls as spatial frequency to the power of minus this, 1 to 6 (default 3)",
    "calcification": "PPM@X,Y,Z:RADIUS in ppm and mm, several separated by ';', in place of SIM2's own; none for none",
    "haemorrhage": "the same with a susceptibility above 0",
    "vessels": "number of veins over that of the published phantom, 0 to 5",
    "vessel_ppm": "susceptibility of venous blood in ppm, 0 to 1 (default 0.19)",
    "remnant": "root mean square in ppm of a field that the removal of the background left, 0 to 0.5",
    "microstructure": "A in ppm of the frequency shift A (sin²θ - 2/3) of white matter, -0.1 to 0.1",
    "detail_seed": "selects texture and remnant in the same head",
}
FIELDS = ("fit", "difference", "true")


def load(location: str, options: Mapping[str, str], settings: LoadSettings) -> Case:
    """Build the phantom (or read it from the cache) and return it as a case.

    Parameters
    ----------
    location
        ``sim1`` or ``sim2``.
    options
        See ``OPTIONS``.
    settings
        General settings; a direction of the main field is that of the simulation.

    Raises
    ------
    ParameterError
        If an option is unknown or out of range.
    """
    if location not in ("sim1", "sim2"):
        raise ParameterError(f"phantom: unknown simulation '{location}'{did_you_mean(location, ('sim1', 'sim2'))}")
    origin = choose_field(options, settings, FIELDS, "fit")
    if settings.phase_sign is not None:
        raise ParameterError("phantom: its phase has the positive sign; leave --phase-sign out")
    bipolar = choose_setting(options, "bipolar", settings.bipolar, BIPOLAR_CHOICES, "auto")
    direction = numbers(options, "b0_direction", 3)
    if direction is None and settings.b0_direction is not None:
        direction = tuple(np.asarray(settings.b0_direction, dtype=float).tolist())
    given: dict[str, Any] = {
        "case": location,
        "size": options.get("size"),
        "snr": number(options, "snr"),
        "seed": whole_number(options, "seed"),
        "noise_seed": whole_number(options, "noise_seed"),
        "b0_tesla": number(options, "b0"),
        "echo_times_s": numbers(options, "te"),
        "b0_direction": direction,
        "voxel_size_mm": numbers(options, "voxel_size", 3),
        "background": flag(options, "background"),
        "rf_phase_offset_rad": number(options, "rf_phase"),
        "texture_ppm": number(options, "texture"),
        "texture_slope": number(options, "texture_slope"),
        "calcifications": _lesions(options, "calcification"),
        "haemorrhages": _lesions(options, "haemorrhage"),
        "vessel_density": number(options, "vessels"),
        "vessel_ppm": number(options, "vessel_ppm"),
        "remnant_ppm": number(options, "remnant"),
        "microstructure_ppm": number(options, "microstructure"),
        "detail_seed": whole_number(options, "detail_seed"),
    }
    parameters = PhantomParameters(**with_preset(options.get("anatomy", "published"), given))
    return phantom_case(build_phantom(parameters, cache=settings.cache), origin, bipolar)


def _lesions(options: Mapping[str, str], name: str) -> tuple[Lesion, ...] | None:
    return parse_lesions(options[name], name) if name in options else None


def phantom_case(phantom: Phantom, field_from: str = "fit", bipolar: str = "auto") -> Case:
    """Return a phantom as a case.

    Parameters
    ----------
    phantom
        The simulated head.
    field_from
        ``fit`` or ``difference`` of the noisy echoes, or ``true``, the noise-free field with its background and what
        else shifts the frequency.
    bipolar
        Whether an odd/even term is fitted: ``yes``, ``no`` or ``auto``, which finds out.

    Raises
    ------
    ParameterError
        If ``field_from`` is unknown.
    """
    if field_from not in FIELDS:
        raise ParameterError(f"phantom field '{field_from}' is unknown{did_you_mean(field_from, FIELDS)}")
    reference = Image(phantom.field_ppm, phantom.affine, Path("phantom"), phantom.affine)
    gathered = Assembly(ScanSettings(phantom.b0_tesla, phantom.echo_times_s, phantom.b0_direction))
    gathered.field_kind = "total" if phantom.parameters.background else "local"
    series = gathered.add_echoes(np.abs(phantom.echoes), np.angle(phantom.echoes), phantom.mask)
    if field_from == "true":
        gathered.parts["field_ppm"] = phantom.frequency_ppm
        gathered.notes.append("field: the noise-free field of the simulation")
    else:
        gathered.add_estimated_field(series, field_from, gathered.acquisition.grid(reference), bipolar)
    names = ("field", "magnitude", "mask", "truth", "labels", "evaluation_mask")
    gathered.sources.update(dict.fromkeys(names, "phantom"), phantom=_describe(phantom))
    truth = Truth(phantom.susceptibility_ppm, phantom.labels, phantom.evaluation_mask)
    return gathered.finish(reference, phantom.parameters.case, truth)


def _describe(phantom: Phantom) -> str:
    """Version and parameters of a phantom in one line."""
    values = ", ".join(f"{name}={_text(value)}" for name, value in phantom.parameters.changed().items())
    return f"phantom version {phantom.version} ({values})"


def _text(value: object) -> str:
    """A parameter as text: lesions as they are written in options."""
    lesions = isinstance(value, tuple) and all(isinstance(part, Lesion) for part in value)
    return (";".join(map(str, value)) or "none") if lesions else str(value)  # type: ignore[call-overload]
