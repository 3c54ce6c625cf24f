"""What a rater sees of a map: three orthogonal views through each of some places, as grey images."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import DataError, ParameterError
from qsm_recon.report.planes import PLANES, Turn, bounding_box

MARGIN_VOXELS = 2
STRUCTURES = {"vein": (11,), "calcification": (16,), "deep grey": (1, 2, 3, 4, 5, 6)}
"""Labels of the 2019 challenge that the views go through."""
BLUR = 3
"""Voxels over which the extremes of a truth are sought: a single one may be noise."""


@dataclass(frozen=True)
class Place:
    """Where three views cut a map: their slices along the stored axes, and what is there."""

    name: str
    voxel: tuple[int, int, int]


def places_from_labels(labels: NDArray, mask: NDArray[np.bool_]) -> tuple[list[Place], list[str]]:
    """Slices that hold most of a vein, the calcification and deep grey matter; and which of these are not there.

    Parameters
    ----------
    labels
        (nx, ny, nz) whole numbers of the 2019 challenge.
    mask
        (nx, ny, nz) where to look.
    """
    places, absent = [], []
    for name, numbers in STRUCTURES.items():
        region = np.isin(np.rint(labels), numbers) & mask
        if region.any():
            counts = [region.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
            first, second, third = (int(np.argmax(count)) for count in counts)
            places.append(Place(name, (first, second, third)))
        else:
            absent.append(name)
    return places, absent


def places_from_truth(truth: NDArray, mask: NDArray[np.bool_]) -> list[Place]:
    """Through the most paramagnetic and the most diamagnetic spot of a truth (ppm), and the middle of the mask."""
    from scipy.ndimage import uniform_filter

    smooth = uniform_filter(np.where(mask, truth, 0.0), BLUR)
    spots = {
        "most paramagnetic": np.argmax(np.where(mask, smooth, -np.inf)),
        "most diamagnetic": np.argmin(np.where(mask, smooth, np.inf)),
    }
    found = [Place(name, _triple(np.unravel_index(spot, mask.shape))) for name, spot in spots.items()]
    return [*found, middle(mask)]


def middle(mask: NDArray[np.bool_]) -> Place:
    """Through the middle of the mask."""
    return Place("middle", _triple([round(float(index.mean())) for index in np.nonzero(mask)]))


def place_from_text(text: str, mask: NDArray[np.bool_]) -> Place:
    """Read ``NAME=I,J,K``, a voxel counted from 0 along the axes of the file.

    Raises
    ------
    ParameterError
        If it is something else, outside the image, or one of its three slices misses the mask.
    """
    name, equals, numbers = text.partition("=")
    try:
        voxel = tuple(int(part) for part in numbers.split(","))
    except ValueError:
        voxel = ()
    if not name or not equals or len(voxel) != 3:
        raise ParameterError(f"--at {text}: expected NAME=I,J,K, a name and three whole numbers (voxels from 0)")
    if any(not 0 <= index < n for index, n in zip(voxel, mask.shape, strict=True)):
        raise ParameterError(f"--at {text}: outside the maps, which have {'×'.join(map(str, mask.shape))} voxels")
    if not all(mask.take(index, axis=axis).any() for axis, index in enumerate(voxel)):
        raise ParameterError(f"--at {text}: one of its three slices does not meet the mask; choose another voxel")
    return Place(name, _triple(voxel))


@dataclass(frozen=True)
class Views:
    """How maps are turned, cropped, cut and shown, the same for all of them.

    Parameters
    ----------
    turn
        How a stored image is turned.
    mask
        (nx, ny, nz) what is shown; its mean is the zero point of every map.
    places
        Where the views cut.
    window_ppm
        Black is minus this, white is plus this.
    """

    turn: Turn
    mask: NDArray[np.bool_]
    places: Sequence[Place]
    window_ppm: float

    def describe(self) -> list[list[dict[str, object]]]:
        """For each place its three views: name, size in mm, letters and slice."""
        box, shape = self._box(), self.turn.apply(self.mask).shape
        lengths = [(part.stop - part.start) * d for part, d in zip(box, self.turn.voxel_size_mm, strict=True)]
        rows = []
        for place in self.places:
            position = self.turn.turned_position(place.voxel, self.mask.shape)
            row: list[dict[str, object]] = []
            for plane in PLANES:
                axis, index = self.turn.stored_index(plane.cut, position[plane.cut], shape[plane.cut])
                row.append(
                    {
                        "place": place.name,
                        "name": plane.name,
                        "slice": f"{axis} = {index}",
                        "width": lengths[plane.right],
                        "height": lengths[plane.up],
                        "ends": ["LPI"[plane.right], "RAS"[plane.right], "LPI"[plane.up], "RAS"[plane.up]],
                    }
                )
            rows.append(row)
        return rows

    def images(self, susceptibility_ppm: NDArray, name: str) -> list[str]:
        """All views of a map as PNG, base64, place by place; the map less its mean over the mask.

        Parameters
        ----------
        susceptibility_ppm
            (nx, ny, nz); values that are not finite are shown as zero.
        name
            Of the map, for errors.

        Raises
        ------
        DataError
            If it is zero or not finite everywhere in the mask.
        """
        inside = susceptibility_ppm[self.mask]
        finite = np.isfinite(inside)
        if not np.any(inside[finite]):
            raise DataError(f"{name}: nothing to rate, the map is zero or not finite everywhere in the mask")
        shown = np.where(
            self.mask & np.isfinite(susceptibility_ppm), susceptibility_ppm - inside[finite].mean(dtype=np.float64), 0
        )
        volume, box = self.turn.apply(shown), self._box()
        pictures = []
        for place in self.places:
            position = self.turn.turned_position(place.voxel, self.mask.shape)
            for plane in PLANES:
                cut = [box[0], box[1], box[2]]
                view = volume[tuple(position[a] if a == plane.cut else cut[a] for a in range(3))]
                pictures.append(_png(view.T[::-1], self.window_ppm))  # what is left has the order right, up
        return pictures

    def _box(self) -> tuple[slice, ...]:
        return bounding_box(self.turn.apply(self.mask), MARGIN_VOXELS)


def grey_levels(view: NDArray, window_ppm: float) -> NDArray[np.uint8]:
    """Grey levels of susceptibility in ppm: 0 at minus the window, 255 at plus."""
    return np.clip(np.rint(127.5 * (1 + view / window_ppm)), 0, 255).astype(np.uint8)


def _png(view: NDArray, window_ppm: float) -> str:
    from PIL import Image  # comes with matplotlib

    stream = io.BytesIO()
    Image.fromarray(grey_levels(view, window_ppm)).save(stream, format="PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _triple(values: Iterable[Any]) -> tuple[int, int, int]:
    first, second, third = (int(value) for value in values)
    return first, second, third
