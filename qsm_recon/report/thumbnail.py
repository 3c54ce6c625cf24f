"""A small picture of a susceptibility map, for lists of many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qsm_recon.datasets.case import Case
from qsm_recon.io import atomic_write, axes_to_ras
from qsm_recon.report.run_figure import PLANES, grey_window

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

    order, flips, sizes = axes_to_ras(affine)
    turned: list[NDArray] = [
        image.transpose(order)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
        for image in (susceptibility_ppm, mask)
    ]
    filled = [np.flatnonzero(turned[1].any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    box = tuple(slice(int(index[0]), int(index[-1]) + 1) for index in filled)
    values, region = turned[0][box], turned[1][box]
    window = grey_window(susceptibility_ppm[mask])
    levels = np.clip(np.rint(np.where(region, values, 0) / window * (GREY - 1)) + GREY, 0, 255).astype(np.uint8)
    lengths = [n * size for n, size in zip(levels.shape, sizes, strict=True)]
    tallest = max(lengths[up] for _, _, up, _ in PLANES)
    views = []
    for cut, right, up, _ in PLANES:
        view = Image.fromarray(np.ascontiguousarray(levels.take(levels.shape[cut] // 2, axis=cut).T[::-1]))
        size = (max(1, round(HEIGHT_PIXELS * lengths[axis] / tallest)) for axis in (right, up))
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
