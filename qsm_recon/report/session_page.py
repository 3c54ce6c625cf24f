"""The page of a tuning session: one HTML file with the data inside, which needs no network."""

from __future__ import annotations

import base64
import json
import zlib
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.io import atomic_write_text, plain
from qsm_recon.metrics.scores import METRIC_UNITS
from qsm_recon.report.described_session import DescribedSession
from qsm_recon.report.planes import LETTERS, PLANES, Plane, Turn, bounding_box
from qsm_recon.select.curve import Curve, curvature
from qsm_recon.select.pick import Pick
from qsm_recon.select.session import StoredPoint

PAGE = "session.html"
MOST_BYTES = 24e6
"""Image bytes of all maps before compression; slices are left out evenly until they fit."""
LEAST_RANGE_PPM = 0.2
MARGIN_VOXELS = 1
"""Around the mask, for its outline."""


def write_session_page(session: DescribedSession, pick: Pick | None = None) -> Path:
    """Write the page of a session into its folder.

    Parameters
    ----------
    session
        With at least one point.
    pick
        What the page opens at; by default what ``auto`` picks.
    """
    pick = pick or session.pick()
    blobs: list[str] = []
    share = MOST_BYTES / len(session.cases)
    content = {
        "algorithm": session.algorithm,
        "parameter": session.parameter,
        "unit": session.unit,
        "chosen": _pick(pick),
        "picks": [_pick(item) for item in session.picks()],
        "curve": _curve(session.curve()),
        "metric_units": METRIC_UNITS,
        "cases": [_case(session, case, share, blobs) for case in range(len(session.cases))],
    }
    folder = files("qsm_recon.report") / "page"
    page = (folder / "session.html").read_text("utf-8")
    for mark, text in (
        ("/*STYLE*/", (folder / "session.css").read_text("utf-8")),
        ("/*SCRIPT*/", "\n".join((folder / name).read_text("utf-8") for name in ("charts.js", "session.js"))),
        ("<!--IMAGES-->", "\n".join(blobs)),
        ("/*CONTENT*/", _embedded(content)),
    ):
        page = page.replace(mark, text, 1)
    return atomic_write_text(session.folder / PAGE, page)


def _embedded(content: Any) -> str:
    """JSON that cannot end the element it stands in; numbers that are not finite are null."""
    return json.dumps(plain(content), allow_nan=False).replace("<", "\\u003c")


def _pick(pick: Pick) -> dict[str, Any]:
    return {"method": pick.method, "value": pick.value, "confidence": pick.confidence, "reason": pick.reason}


def _curve(curve: Curve) -> dict[str, Any]:
    trusted = curve.trusted()
    fine = curvature(trusted) if len(trusted) >= 5 else None
    return {
        "parameter": curve.parameter.tolist(),
        "data": curve.data_cost.tolist(),
        "regularisation": curve.regularisation_cost.tolist(),
        "noise": None if curve.noise_cost is None else curve.noise_cost.tolist(),
        "risk": _risk(curve),
        "bands": None if curve.band_means is None else curve.band_means.T.tolist(),
        "violations": curve.violations().tolist(),
        "curvature": None if fine is None else {"parameter": fine.parameter.tolist(), "value": fine.value.tolist()},
    }


def _risk(curve: Curve) -> dict[str, Any] | None:
    """Estimated errors where they are known (ppb, root mean square)."""
    if curve.risk is None:
        return None
    known = np.isfinite(curve.risk) & (curve.risk > 0)
    if np.count_nonzero(known) < 2:
        return None
    return {"parameter": curve.parameter[known].tolist(), "ppb": (1e3 * np.sqrt(curve.risk[known])).tolist()}


def _case(session: DescribedSession, index: int, most_bytes: float, blobs: list[str]) -> dict[str, Any]:
    case, points = session.cases[index], session.of_case(index)
    turn = Turn.of(np.array(case.affine))
    maps = [turn.apply(session.susceptibility_ppm(point)) for point in points]
    box = bounding_box(np.logical_or.reduce([image != 0 for image in maps]), MARGIN_VOXELS)
    reach = max(
        LEAST_RANGE_PPM, *(float(np.percentile(np.abs(image[image != 0]), 99)) for image in maps if image.any())
    )
    shape = tuple(part.stop - part.start for part in box)
    slices = _kept_slices(shape, most_bytes / len(points))
    for number, image in enumerate(maps):
        packed = base64.b64encode(zlib.compress(_pack(image[box], reach, slices), 6)).decode("ascii")
        blobs.append(f'<script type="text/plain" id="image-{index}-{number}">{packed}</script>')
    return {
        "name": case.name,
        "shape": shape,
        "voxel": turn.voxel_size_mm,
        "range": reach,
        "planes": [_plane(plane, turn, slices[plane.cut], box[plane.cut].start, maps[0].shape) for plane in PLANES],
        "points": [_facts(session, point, index) for point in points],
    }


def _facts(session: DescribedSession, point: StoredPoint, case: int) -> dict[str, Any]:
    return {
        "value": point.value,
        "data": point.data_cost,
        "regularisation": point.regularisation_cost,
        "iterations": point.iterations,
        "settled": point.settled,
        "seconds": point.seconds,
        "metrics": {name: value for name, value in point.metrics.items() if value is not None and np.isfinite(value)},
        "command": session.command(point.value, case),
    }


def _plane(plane: Plane, turn: Turn, slices: list[int], start: int, shape: tuple[int, ...]) -> dict[str, Any]:
    """A view: its axes, the letters of its edges, and for each slice where it lies in the file."""
    stored = [turn.stored_index(plane.cut, start + position, shape[plane.cut]) for position in slices]
    return {
        "name": plane.name,
        "cut": plane.cut,
        "right": plane.right,
        "up": plane.up,
        "slices": slices,
        "stored": [f"{name} = {index}" for name, index in stored],
        "ends": [*LETTERS[plane.right], *LETTERS[plane.up]],
    }


def _kept_slices(shape: tuple[int, ...], most_bytes: float) -> list[list[int]]:
    """For each axis the positions whose slices are kept: all, or evenly spread ones."""
    everything = 3.0 * np.prod(shape)
    share = min(1.0, most_bytes / everything)
    return [
        sorted({round(float(position)) for position in np.linspace(0, n - 1, max(1, int(n * share)))}) for n in shape
    ]


def _pack(image: NDArray, reach: float, slices: list[list[int]]) -> bytes:
    """Slices of the three planes one after the other, 8 bit, row by row from the top; 0 is outside the mask."""
    levels = np.where(image == 0, 0, np.clip(np.rint((image / reach) * 127) + 128, 1, 255)).astype(np.uint8)
    parts = []
    for plane in PLANES:
        turned = levels.transpose(plane.cut, plane.up, plane.right)[slices[plane.cut], ::-1]
        parts.append(np.ascontiguousarray(turned).tobytes())
    return b"".join(parts)
