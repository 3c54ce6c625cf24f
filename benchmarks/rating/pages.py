"""The page that raters open, and the key that says which map is which."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.rating.views import (
    Place,
    Views,
    middle,
    place_from_text,
    places_from_labels,
    places_from_truth,
)
from qsm_recon.errors import DataError, ParameterError, ResourceError
from qsm_recon.io import Image, atomic_write_text, load_image, load_mask, require_same_geometry, write_json
from qsm_recon.metrics import evaluate
from qsm_recon.report.planes import Turn
from qsm_recon.version import __version__

PAGE, KEY = "rating.html", "key.json"
FORMAT = 1
ASSETS = Path(__file__).parent / "page"
CATEGORIES = {
    "streaking": "Dark and bright streaks that spread from strong sources, often along the magic angle.",
    "unnaturalness": "Blocky, cartoon-like, over-smoothed or otherwise unlike tissue.",
    "noise": "Grain, in uniform tissue above all.",
}
"""What is rated, in this order, and what it means."""
SCALE = ("none", "slight", "moderate", "severe")
"""Words for 0 to 3."""


@dataclass(frozen=True)
class Material:
    """What the maps are compared and shown with; None where it was not given."""

    mask: Image | None
    truth: Image | None
    labels: Image | None


def write_rating(
    maps: Sequence[Path],
    folder: Path,
    material: Material,
    *,
    at: Sequence[str] = (),
    window_ppm: float = 0.1,
    seed: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Path, Path, list[str]]:
    """Write page and key into a folder.

    Parameters
    ----------
    maps
        Files of the maps to rate, in ppm, two or more on one grid.
    folder
        Where to; made where missing.
    material
        Mask, truth and labels.
    at
        Places as ``NAME=I,J,K``; none: from the labels, else the truth, else the middle.
    window_ppm
        Half width of the grey window.
    seed
        Of names and order; drawn anew by default, and kept in the key.
    progress
        Told which map is being worked on.

    Returns
    -------
    page, key
        The files.
    notes
        What should be said of the choice of places.

    Raises
    ------
    DataError, ParameterError, ResourceError
        If a map cannot be read or shown, maps differ in geometry, or the folder holds a page already.
    """
    if len(maps) < 2:
        raise ParameterError("one map is not rated by itself; give two or more")
    if len({path.resolve() for path in maps}) < len(maps):
        raise ParameterError("a map is given twice")
    _require_free(folder)
    if not np.isfinite(window_ppm) or window_ppm <= 0:
        raise ParameterError(f"--window {window_ppm:g}: expected a positive number of ppm")
    first = load_image(maps[0])
    for other in (material.mask, material.truth, material.labels):
        if other is not None:
            require_same_geometry(first, other)
    mask = _mask(first, material)
    places, notes = _places(material, mask, at)
    views = Views(Turn.of(first.affine), mask, places, window_ppm)
    seed = secrets.randbits(32) if seed is None else seed
    names, orders = blinded(len(maps), seed)

    submissions, pictures = {}, {}
    for name, path in zip(names, maps, strict=True):
        progress(str(path))
        image = load_image(path)
        require_same_geometry(first, image)
        pictures[name] = views.images(image.data, str(path))
        submissions[name] = {"file": str(path), "sha256": _checksum(path), "metrics": _metrics(image, mask, material)}
    content: dict[str, Any] = {
        "categories": CATEGORIES, "scale": SCALE, "window": window_ppm, "views": views.describe(),
        "orders": {category: [names[i] for i in order] for category, order in orders.items()},
        "images": {name: pictures[name] for name in sorted(names)},
    }  # fmt: skip
    # The page is known by what it shows: ratings of another page are not mistaken for its own.
    content["page"] = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    key = {
        "format": FORMAT,
        "software": f"qsm_recon {__version__}",
        "page": content["page"],
        "seed": seed,
        "window_ppm": window_ppm,
        "places": {place.name: list(place.voxel) for place in places},
        "orders": content["orders"],
        **{name: None if image is None else str(image.path) for name, image in vars(material).items()},
        "submissions": {name: submissions[name] for name in sorted(names)},
    }
    # The key goes first: a page without one could never be unblinded.
    key_file = write_json(folder / KEY, key)
    page = atomic_write_text(folder / PAGE, _page(content))
    return page, key_file, notes


def blinded(count: int, seed: int) -> tuple[list[str], dict[str, list[int]]]:
    """Names that say nothing of the maps, and for each category an order of its own.

    Parameters
    ----------
    count
        Number of maps.
    seed
        Selects both.

    Returns
    -------
    names
        Name of each map.
    orders
        For each category the indices of the maps in the order they are shown.

    Raises
    ------
    ParameterError
        If the seed is negative.
    """
    if seed < 0:
        raise ParameterError(f"--seed {seed}: expected 0 or more")
    generator = np.random.default_rng(seed)
    digits = max(2, len(str(count)))
    names = [f"map {number + 1:0{digits}d}" for number in generator.permutation(count)]
    return names, {category: [int(i) for i in generator.permutation(count)] for category in CATEGORIES}


def _require_free(folder: Path) -> None:
    """Refuse a folder whose key would be lost, and with it the meaning of ratings that may be under way."""
    for name in (KEY, PAGE):
        if (folder / name).exists():
            raise ResourceError(
                f"{folder / name}: is there already, and ratings of that page could not be read without its key; "
                "choose another folder (--out)"
            )


def _mask(first: Image, material: Material) -> NDArray[np.bool_]:
    """The mask given, or else where the truth, or the first map, is not zero."""
    if material.mask is not None:
        return material.mask.data
    known = first if material.truth is None else material.truth
    region = np.isfinite(known.data) & (known.data != 0)
    if not region.any():
        raise DataError(f"{known.path}: zero everywhere; give a mask (--mask)")
    return region


def _places(material: Material, mask: NDArray[np.bool_], at: Sequence[str]) -> tuple[list[Place], list[str]]:
    if at:
        places = [place_from_text(text, mask) for text in at]
        if len({place.name for place in places}) < len(places):
            raise ParameterError("--at: a name is given twice")
        return places, []
    if material.labels is not None:
        places, absent = places_from_labels(material.labels.data, mask)
        if not places:
            raise DataError(
                f"{material.labels.path}: none of {', '.join(absent)} is labelled (labels of the 2019 challenge); give "
                "places with --at"
            )
        return places, [f"no {name} among the labels, so none is shown" for name in absent]
    if material.truth is not None:
        return places_from_truth(material.truth.data, mask), []
    return [middle(mask)], ["views through the middle of the mask; --labels, --truth or --at NAME=I,J,K choose others"]


def _metrics(image: Image, mask: NDArray[np.bool_], material: Material) -> dict[str, float | None]:
    if material.truth is None:
        return {}
    labels = None if material.labels is None else material.labels.data
    return evaluate(image.data, material.truth.data, mask, labels).values


def read_material(mask: Path | None, truth: Path | None, labels: Path | None) -> Material:
    """Read mask, truth and labels, whichever are given.

    Raises
    ------
    DataError
        If one cannot be read.
    """
    return Material(
        None if mask is None else load_mask(mask),
        None if truth is None else load_image(truth, dtype=np.float64),
        None if labels is None else load_image(labels),
    )


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _page(content: dict[str, Any]) -> str:
    page = (ASSETS / "rating.html").read_text("utf-8")
    embedded = json.dumps(content, allow_nan=False).replace("<", "\\u003c")  # cannot end the element it stands in
    for mark, text in (
        ("/*STYLE*/", (ASSETS / "rating.css").read_text("utf-8")),
        ("/*SCRIPT*/", (ASSETS / "rating.js").read_text("utf-8")),
        ("/*CONTENT*/", embedded),
    ):
        page = page.replace(mark, text, 1)
    return page
