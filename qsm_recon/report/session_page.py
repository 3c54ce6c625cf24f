"""The page of a tuning session: one HTML file with the data inside, which needs no network."""

from __future__ import annotations

import base64
import json
import zlib
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.io import atomic_write_text, axes_to_ras
from qsm_recon.select.curve import Curve, curvature
from qsm_recon.select.pick import Pick
from qsm_recon.select.session import StoredPoint

if TYPE_CHECKING:
    from qsm_recon.report.tuning import TuningSession

PAGE = "session.html"
MOST_BYTES = 24e6
"""Image bytes of all maps before compression; slices are left out evenly until they fit."""
LEAST_RANGE_PPM = 0.2
# Axis cut, axis drawn to the right, axis drawn upwards, and the name, in right-anterior-superior axes.
PLANES = ((2, 0, 1, "axial"), (1, 0, 2, "coronal"), (0, 1, 2, "sagittal"))


def write_session_page(session: TuningSession, pick: Pick | None = None) -> Path:
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
        "unit": session.solver(session.points[0].value).declared()[session.parameter].unit,
        "chosen": _pick(pick),
        "picks": [_pick(item) for item in session.picks()],
        "curve": _curve(session.curve()),
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
    """JSON that cannot end the element it stands in."""
    return json.dumps(content, allow_nan=False).replace("<", "\\u003c")


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


def _case(session: TuningSession, index: int, most_bytes: float, blobs: list[str]) -> dict[str, Any]:
    case, points = session.cases[index], session.of_case(index)
    order, flips, sizes = axes_to_ras(np.array(case.affine))
    maps = [_to_ras(session.susceptibility_ppm(point), order, flips) for point in points]
    box = _bounding_box(maps)
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
        "voxel": sizes,
        "range": reach,
        "planes": [
            {"name": name, "cut": cut, "right": right, "up": up, "slices": slices[cut]}
            for cut, right, up, name in PLANES
        ],
        "points": [_facts(session, point, index) for point in points],
    }


def _facts(session: TuningSession, point: StoredPoint, case: int) -> dict[str, Any]:
    return {
        "value": point.value,
        "data": point.data_cost,
        "regularisation": point.regularisation_cost,
        "iterations": point.iterations,
        "settled": point.settled,
        "seconds": point.seconds,
        "metrics": {name: value for name, value in point.metrics.items() if value is not None},
        "command": session.command(point.value, case),
    }


def _to_ras(volume: NDArray, order: tuple[int, ...], flips: tuple[bool, ...]) -> NDArray:
    turned = volume.transpose(order)
    return turned[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]


def _bounding_box(maps: list[NDArray]) -> tuple[slice, ...]:
    """Smallest box that holds all that is not zero."""
    filled = np.logical_or.reduce([image != 0 for image in maps])
    if not filled.any():
        return tuple(slice(0, n) for n in filled.shape)
    ranges = [np.flatnonzero(filled.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    return tuple(slice(int(index[0]), int(index[-1]) + 1) for index in ranges)


def _kept_slices(shape: tuple[int, ...], most_bytes: float) -> list[list[int]]:
    """For each axis the positions whose slices are kept: all, or evenly spread ones."""
    everything = 3.0 * np.prod(shape)
    share = min(1.0, most_bytes / everything)
    return [
        sorted({round(float(position)) for position in np.linspace(0, n - 1, max(1, int(n * share)))}) for n in shape
    ]


def _pack(image: NDArray, reach: float, slices: list[list[int]]) -> bytes:
    """Slices of the three planes one after the other, 8 bit, row by row from the top."""
    levels = np.clip(np.rint((image / reach) * 127) + 128, 1, 255).astype(np.uint8)
    parts = []
    for cut, right, up, _ in PLANES:
        turned = levels.transpose(cut, up, right)[slices[cut], ::-1]
        parts.append(np.ascontiguousarray(turned).tobytes())
    return b"".join(parts)
