"""The images inside the page of a run: what the viewer shows, cropped, in whole steps, packed as text."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.datasets.case import Case
from qsm_recon.io import axes_to_ras
from qsm_recon.report.run_figure import MARGIN_VOXELS, OUTLINED_MARGIN_VOXELS, grey_window

STEP_PPM = 1e-4
"""Maps in ppm are rounded to this where their range allows it: a tenth of a ppb."""
MAGNITUDE_STEPS = 500
"""Steps from zero to the bright end of the magnitude."""
LARGEST = 32767
NO_VALUE = -32768
"""Stands for voxels outside the mask."""
MOST_VOXELS = 12_000_000
"""Of one image; larger ones are shown with every second (third …) voxel along each axis."""


@dataclass(frozen=True)
class PageImage:
    """One image of the viewer: name, values (nx, ny, nz) in a unit, and where they count (None: everywhere).

    ``centre`` and ``half_width`` are the grey window it opens with, ``step`` what values are rounded to.
    """

    key: str
    name: str
    values: NDArray
    inside: NDArray[np.bool_] | None
    centre: float
    half_width: float
    step: float
    unit: str = "ppm"


def page_images(case: Case, susceptibility: NDArray[np.float32], covered: NDArray[np.bool_]) -> list[PageImage]:
    """Images that the viewer shows.

    Parameters
    ----------
    case
        The data set, with its truth where known.
    susceptibility
        (nx, ny, nz) the map in ppm as it is written.
    covered
        (nx, ny, nz) the voxels that have a result.
    """
    problem, total = case.problem, case.stages.get("total_field_ppm")
    window = grey_window(susceptibility[covered])
    images = [_map("chi", "susceptibility", susceptibility, covered, 0.0, window)]
    images.append(_field("field", "field" if total is None else "local field", problem.field_ppm, problem.mask))
    if total is not None:
        images.append(_field("total", "total field", total, case.given_mask))
    if problem.magnitude is not None:
        bright = float(np.percentile(problem.magnitude[problem.mask], 99)) or 1.0
        step = max(bright / MAGNITUDE_STEPS, float(problem.magnitude.max()) / LARGEST)
        images.append(
            PageImage("magnitude", "magnitude", problem.magnitude, None, bright / 2, bright / 2, step, "a.u.")
        )
    if case.truth is not None:
        region = case.compared(covered)
        truth = case.truth.susceptibility_ppm
        error = susceptibility - truth - float((susceptibility - truth)[region].mean(dtype=np.float64))
        images.append(_map("error", "error", error, region, 0.0, window))
    return images


def packed_images(images: list[PageImage], case: Case) -> tuple[dict[str, Any], dict[str, str]]:
    """Pack images for the page.

    Parameters
    ----------
    images
        All of the case's shape.
    case
        Gives the affine and the masks, around which images are cropped.

    Returns
    -------
    geometry
        For the viewer, plain values: the shape of what is packed and how its axes run in the files, see
        ``page/viewer.js``; ``images`` has name, unit, step and grey window of each.
    packed
        By key: base64 of the deflated 16-bit whole numbers, all low bytes before all high bytes; a value is its number
        times the step, and ``NO_VALUE`` means outside the mask.
    """
    order, flips, sizes = axes_to_ras(case.affine)
    box, stride = _box(_to_ras(case.problem.mask | case.given_mask, order, flips), case.made_mask)
    cut = tuple(slice(part.start, part.stop, stride) for part in box)
    packed, facts, shape = {}, [], (0, 0, 0)
    for image in images:
        values = _to_ras(image.values, order, flips)[cut]
        inside = None if image.inside is None else _to_ras(image.inside, order, flips)[cut]
        shape = values.shape
        packed[image.key] = _pack(values, inside, image.step)
        facts.append(
            {"key": image.key, "name": image.name, "unit": image.unit, "step": image.step,
             "centre": image.centre, "half": image.half_width, "mask": inside is not None}
        )  # fmt: skip
    geometry = {
        "shape": list(shape),
        "sizes": [size * stride for size in sizes],
        "order": list(order),
        "flips": list(flips),
        "start": [part.start for part in box],
        "stride": stride,
        "full": list(case.problem.grid.shape),
        "affine": np.asarray(case.affine, float).tolist(),
        "images": facts,
    }
    return geometry, packed


def _map(
    key: str, name: str, values: NDArray, inside: NDArray[np.bool_], centre: float, half_width: float
) -> PageImage:
    """Image in ppm; finer steps than its range allows in 16 bits are not possible."""
    largest = float(np.abs(values[inside]).max()) if inside.any() else 0.0
    return PageImage(key, name, values, inside, centre, half_width, max(STEP_PPM, largest / LARGEST))


def _field(key: str, name: str, field: NDArray, inside: NDArray[np.bool_]) -> PageImage:
    """Image of a field; its window lies about the median, as in the figure."""
    centre = float(np.median(field[inside]))
    reach = float(np.percentile(np.abs(field[inside] - centre), 98)) or 1.0
    return _map(key, name, field, inside, centre, reach)


def _box(region: NDArray[np.bool_], whole_object: bool) -> tuple[list[slice], int]:
    """Box around a mask with a margin, as the figure shows it, and the stride at which it is small enough."""
    margin = OUTLINED_MARGIN_VOXELS if whole_object else MARGIN_VOXELS
    box = []
    for axis, length in enumerate(region.shape):
        filled = np.flatnonzero(region.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(max(int(filled[0]) - margin, 0), min(int(filled[-1]) + 1 + margin, length)))
    stride = 1
    while np.prod([len(range(part.start, part.stop, stride)) for part in box]) > MOST_VOXELS:
        stride += 1
    return box, stride


def _pack(values: NDArray, inside: NDArray[np.bool_] | None, step: float) -> str:
    levels = np.clip(np.rint(values / step), -LARGEST, LARGEST)
    if inside is not None:
        levels = np.where(inside, levels, NO_VALUE)
    numbers = np.ascontiguousarray(levels, dtype="<i2").ravel().view(np.uint8)
    halves = np.concatenate([numbers[0::2], numbers[1::2]])  # the high bytes hardly vary and compress well
    return base64.b64encode(zlib.compress(halves.tobytes(), 6)).decode("ascii")


def _to_ras(volume: NDArray, order: tuple[int, ...], flips: tuple[bool, ...]) -> NDArray:
    turned = volume.transpose(order)
    return turned[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]
