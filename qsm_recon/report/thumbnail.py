"""A small picture of a susceptibility map, for lists of many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qsm_recon.datasets.case import Case
from qsm_recon.io import atomic_write
from qsm_recon.report.planes import PLANES, Turn, bounding_box
from qsm_recon.report.run_figure import grey_window

HEIGHT_PIXELS = 96
JPEG_QUALITY = 80
GREY = 128


def thumbnail(
    susceptibility_ppm: NDArray[np.floating], mask: NDArray[np.bool_], affine: NDArray[np.floating]
) -> NDArray[np.uint8]:
    """Draw three views through the middle of the mask side by side, to scale.

    Parameters
    ----------
    susceptibility_ppm
        (nx, ny, nz) map in ppm.
    mask
        (nx, ny, nz) what is shown, and what the window is found in.
    affine
        (4, 4) voxel-to-world matrix; anterior and superior are up, the subject's right is on the right.

    Returns
    -------
    ndarray
        (height, width) grey levels; 128 is zero.
    """
    from PIL import Image

    turn = Turn.of(affine)
    shown = turn.apply(mask)
    box = bounding_box(shown)
    values, region = turn.apply(susceptibility_ppm)[box], shown[box]
    window = grey_window(susceptibility_ppm[mask])
    levels = np.clip(np.rint(np.where(region, values, 0) / window * (GREY - 1)) + GREY, 0, 255).astype(np.uint8)
    lengths = [n * size for n, size in zip(levels.shape, turn.voxel_size_mm, strict=True)]
    tallest = max(lengths[plane.up] for plane in PLANES)
    views = []
    for plane in PLANES:
        view = Image.fromarray(np.ascontiguousarray(levels.take(levels.shape[plane.cut] // 2, axis=plane.cut).T[::-1]))
        size = (max(1, round(HEIGHT_PIXELS * lengths[axis] / tallest)) for axis in (plane.right, plane.up))
        small = np.asarray(view.resize(tuple(size), Image.Resampling.BOX))
        above = (HEIGHT_PIXELS - len(small)) // 2
        below = HEIGHT_PIXELS - len(small) - above
        views.append(np.pad(small, ((above, below), (0, 0)), constant_values=GREY))
    return np.hstack(views)


def save_thumbnail(path: Path, susceptibility_ppm: NDArray[np.floating], mask: NDArray[np.bool_], case: Case) -> Path:
    """Write the small picture of a case's map as JPEG.

    Raises
    ------
    ResourceError
        If it cannot be written.
    """
    from PIL import Image

    image = Image.fromarray(thumbnail(susceptibility_ppm, mask, np.asarray(case.affine)))
    return atomic_write(path, lambda temporary: image.save(temporary, "JPEG", quality=JPEG_QUALITY))
