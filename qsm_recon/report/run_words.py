"""What a run did, in words, from its record (:func:`qsm_recon.report.document.run_document`)."""

from __future__ import annotations

from typing import Any

from qsm_recon.parameters import Parameter
from qsm_recon.solvers.registry import find_solver
from qsm_recon.solvers.two_pass import words_of_two_passes

FIELD_METHODS = {
    "fit": "a nonlinear fit to the complex signal of all echoes",
    "difference": "the phase differences between echoes",
}
METRICS = {
    "nrmse": ("NRMSE", "%"),
    "dnrmse": ("detrended NRMSE", "%"),
    "dnrmse_tissue": ("detrended NRMSE, tissue", "%"),
    "dnrmse_blood": ("detrended NRMSE, venous blood", "%"),
    "dnrmse_dgm": ("detrended NRMSE, deep grey matter", "%"),
    "linear_slope_deviation": ("deviation of the slope from one, deep grey matter", "1"),
    "calcification_streaking": ("streaking beside the calcification", "1"),
    "calcification_moment_deviation": ("deviation of the calcification's moment", "ppm × voxels"),
    "ssim": ("SSIM", "1"),
    "xsim": ("XSIM", "1"),
    "hfen": ("HFEN", "%"),
    "cc": ("correlation", "1"),
    "mi": ("mutual information", "nats"),
    "mad": ("mean absolute difference", "%"),
    "gxe": ("gradient error", "%"),
}
"""Name and unit of each metric; higher is better for ``HIGHER_IS_BETTER``."""
HIGHER_IS_BETTER = ("ssim", "xsim", "cc", "mi")


def warnings_of(document: dict[str, Any]) -> list[str]:
    """Everything in a record that asks for caution, the worst first."""
    result, background = document["result"], document["background"]
    found = []
    if not result["converged"]:
        found.append(
            f"Not converged: {result['stop_reason']} after {result['iterations']} iterations. The map is that of the "
            "last iteration and may still change."
        )
    if background is not None and not background["converged"]:
        found.append(f"The background removal ({background['name']}) did not converge: {background['stop_reason']}.")
    found += [str(result[name]) for name in ("impossible_range", "background_in_field") if result.get(name)]
    found += [str(text) for text in result.get("warnings", [])]
    found += [note.removeprefix("warning: ") for note in document["input"]["notes"] if is_warning(note)]
    return [text[:1].upper() + text[1:] for text in dict.fromkeys(found)]


def notes_of(document: dict[str, Any]) -> list[str]:
    """Remarks of a record that are no warnings."""
    return [note for note in document["input"]["notes"] if not is_warning(note)]


def is_warning(note: str) -> bool:
    """Whether a note asks for caution."""
    return note.startswith("warning: ") or "(--accept-background)" in note


def account(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Steps from the input to the map, each with a heading and one or two sentences.

    Parameters
    ----------
    document
        The record of a run.
    """
    steps = [
        ("Input", _input(document)),
        ("Geometry", _geometry(document["geometry"])),
        ("Mask", _mask(document)),
        ("Field", _field(document["input"])),
        ("Background", _background(document)),
        ("Inversion", _inversion(document)),
        ("Weight", _weight(document)),
        ("Stop", _stop(document["result"])),
        ("Zero reference", _reference(document["result"])),
        ("Result", _statistics(document["result"])),
    ]
    return [(heading, text) for heading, text in steps if text]


def with_unit(value: Any, unit: str) -> str:
    """A number with its unit; one without a dimension stands alone."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if unit == "1" else f"{text} {unit}"


def _input(document: dict[str, Any]) -> str:
    given = document["input"]
    strength = f"{given['b0_tesla']:g} T" if given["b0_tesla"] else "field strength not given"
    times = [f"{1e3 * time:.4g}" for time in given["echo_times_s"]]
    echoes = f"{_count(len(times), 'echo', 'echoes')} at {', '.join(times)} ms" if times else "echo times not given"
    return f"{given['name']}: {strength}, {echoes}."


def _geometry(geometry: dict[str, Any]) -> str:
    shape = " × ".join(map(str, geometry["shape"]))
    sizes = " × ".join(f"{size:.4g}" for size in geometry["voxel_size_mm"])
    direction = ", ".join(f"{_zero_is_positive(part):.3f}" for part in geometry["b0_direction_voxel_axes"])
    return (
        f"{shape} voxels of {sizes} mm. The main field points along ({direction}) in voxel axes, "
        f"{geometry['b0_angle_to_nearest_axis_deg']:.1f}° off the nearest image axis; the dipole kernel is turned to "
        "it, the image is not resampled."
    )


def _zero_is_positive(value: float) -> float:
    return 0.0 if abs(value) < 5e-4 else value


def _mask(document: dict[str, Any]) -> str:
    geometry, source = document["geometry"], document["input"]["files"].get("mask", {}).get("source", "")
    volume = geometry["voxel_size_mm"][0] * geometry["voxel_size_mm"][1] * geometry["voxel_size_mm"][2]
    origin = f"; it was {source}" if source.startswith("made ") else ""
    background = document["background"]
    voxels = geometry["mask_voxels"] if background is None else background["given_mask_voxels"]
    text = f"{voxels} voxels ({voxels * volume / 1e3:.4g} ml){origin}."
    if geometry["result_mask_voxels"] != geometry["mask_voxels"]:
        text += f" The map covers {geometry['result_mask_voxels']} voxels."
    return text


def _field(given: dict[str, Any]) -> str:
    estimate = given["field_estimate"]
    if estimate is None:
        return f"Taken from {given['files'].get('field', {}).get('source', 'the data set')}."
    method = FIELD_METHODS.get(estimate["method"], estimate["method"])
    readout = " The readout was bipolar; its phase was fitted too." if estimate.get("bipolar") else ""
    return f"Estimated from {_count(len(estimate['echo_times_s']), 'echo', 'echoes')} by {method}.{readout}"


def _background(document: dict[str, Any]) -> str:
    background = document["background"]
    if background is None:
        if find_solver(document["algorithm"]["name"]).expects_local_field:
            return "No background field was removed: the field was taken for local."
        return "No background field was removed before the inversion: the method takes a total field."
    left, given = background["mask_voxels"], background["given_mask_voxels"]
    extent = "the whole mask" if left == given else f"{left} of {given} voxels, which are the mask from here on"
    iterations = f" {_count(background['iterations'], 'iteration')}:" if background["iterations"] else ""
    return (
        f"Removed by {background['title']} ({background['citation']}).{iterations} {background['stop_reason']}. "
        f"Valid in {extent}."
    )


def _inversion(document: dict[str, Any]) -> str:
    algorithm, result = document["algorithm"], document["result"]
    weighting = f" Data weight: {result['weighting']}." if result.get("weighting") else ""
    second = result.get("two_pass")
    passes = f" {words_of_two_passes(second)}" if second else ""
    return f"{algorithm['title']} ({algorithm['citation']}).{weighting}{passes}"


def _weight(document: dict[str, Any]) -> str:
    main = main_parameter(document)
    name, value = main.name.replace("_", " ").capitalize(), document["algorithm"]["parameters"][main.name]["value"]
    return f"{name} {with_unit(value, main.unit)}: {weight_origin(document)}."


def main_parameter(document: dict[str, Any]) -> Parameter:
    """The main parameter of a record's method."""
    return find_solver(document["algorithm"]["name"]).main_parameter()


def weight_origin(document: dict[str, Any]) -> str:
    """Who chose the main parameter."""
    result, main = document["result"], main_parameter(document)
    selection = result.get("selection")
    if selection is not None:
        return f"chosen by the rule '{selection['method']}' ({selection['reason']})"
    if "default_from" in result:
        return f"follows the data by the default rule, {result['default_from']}"
    if document["algorithm"]["parameters"][main.name]["value"] == main.default:
        return "the method's default"
    return "set on the command line"


def _stop(result: dict[str, Any]) -> str:
    if not result["iterations"]:
        return "Closed form: nothing to iterate."
    verdict = "Converged" if result["converged"] else "NOT converged"
    return f"{verdict} after {_count(result['iterations'], 'iteration')}: {result['stop_reason']}."


def _reference(result: dict[str, Any]) -> str:
    reference = result["zero_reference"]
    if reference == "none":
        return "None: the map is as the method returned it, and means differences only."
    return f"Zero is the {reference}."


def _statistics(result: dict[str, Any]) -> str:
    found = result["statistics_in_mask"]
    return (
        f"In the mask: standard deviation {found['standard_deviation']:.4f} ppm, percentiles 1 and 99 at "
        f"{found['percentile_1']:.4f} and {found['percentile_99']:.4f} ppm."
    )


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
