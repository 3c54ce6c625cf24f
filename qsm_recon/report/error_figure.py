"""The error map: truth, reconstruction and their difference in three planes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qsm_recon.io import atomic_write
from qsm_recon.report.planes import PLANES, Plane, Turn, any_letters, bounding_box, draw_letters, draw_outline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARGIN = 3  # voxels shown around the mask
PANEL_WIDTH_INCHES = 2.9


def error_figure(
    susceptibility: NDArray,
    truth: NDArray,
    mask: NDArray,
    *,
    voxel_size_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    affine: NDArray[np.floating] | None = None,
    title: str = "",
    window_ppm: float = 0.1,
) -> Figure:
    """Draw truth, reconstruction and error in the three planes through the centre of the mask.

    Both maps are shown less their means over the mask, as the error metrics see them.

    Parameters
    ----------
    susceptibility, truth
        Maps in ppm, (x, y, z).
    mask
        Region of the evaluation, of the same shape.
    voxel_size_mm
        Voxel edge lengths along the axes, for the proportions; not used where an affine is given.
    affine
        (4, 4) voxel-to-world matrix in mm: the views are turned anterior and superior up, the subject's right on the
        right, and the directions written in.  Without it the views are along the axes as stored, and have no letters.
    title
        Text above the panels.
    window_ppm
        Grey values run from minus to plus this, in all panels.
    """
    from matplotlib.figure import Figure

    turn = Turn((0, 1, 2), (False,) * 3, tuple(voxel_size_mm)) if affine is None else Turn.of(affine)
    inside = np.asarray(mask, dtype=bool)
    whole = turn.apply(inside)
    box = bounding_box(whole, MARGIN)
    region = whole[box]
    true, recon = (
        np.where(region, turn.apply(np.nan_to_num(image))[box] - np.nan_to_num(image[inside]).mean(), 0.0)
        for image in (truth, susceptibility)
    )
    panels = {"truth": true, "reconstruction": recon, "error": recon - true}
    centre = [round(float(indices.mean())) for indices in np.nonzero(region)]

    sizes = turn.voxel_size_mm
    size_mm = [n * d for n, d in zip(region.shape, sizes, strict=True)]
    heights = [size_mm[plane.up] / size_mm[plane.right] for plane in PLANES]
    figure = Figure(
        figsize=(3 * PANEL_WIDTH_INCHES + 0.9, PANEL_WIDTH_INCHES * sum(heights) + 0.9), layout="constrained"
    )
    axes = figure.subplots(3, 3, height_ratios=heights, squeeze=False)
    for row, plane in zip(axes, PLANES, strict=True):
        name, index = turn.stored_index(plane.cut, centre[plane.cut] + box[plane.cut].start, whole.shape[plane.cut])
        for axis, (heading, volume) in zip(row, panels.items(), strict=True):
            _show(axis, volume, region, plane, centre[plane.cut], sizes, window_ppm)
            if affine is not None:
                draw_letters(axis, plane)
            if plane is PLANES[0]:
                axis.set_title(heading)
        row[0].set_ylabel(f"{name} = {index}" if affine is None else f"{plane.name}, {name} = {index}")
    scale = figure.colorbar(axes[0, 0].images[0], ax=axes, shrink=0.5, pad=0.02, extend="both")
    scale.set_label("susceptibility less its mean over the mask [ppm]")
    figure.suptitle(title, parse_math=False)  # the names of files may hold anything
    return figure


def save_error_figure(path: str | Path, figure: Figure, *, dots_per_inch: int = 120) -> Path:
    """Write a figure as an image, in one step.

    Raises
    ------
    ResourceError
        If the file cannot be written.
    """
    with any_letters():
        return atomic_write(path, lambda temporary: figure.savefig(temporary, dpi=dots_per_inch))


def _show(
    axis: Axes,
    volume: NDArray,
    region: NDArray[np.bool_],
    plane: Plane,
    position: int,
    sizes: tuple[float, ...],
    window_ppm: float,
) -> None:
    view, pixel = volume.take(position, axis=plane.cut), (sizes[plane.right], sizes[plane.up])
    extent = (0, view.shape[0] * pixel[0], 0, view.shape[1] * pixel[1])
    axis.imshow(
        view.T, cmap="gray", vmin=-window_ppm, vmax=window_ppm, origin="lower", interpolation="nearest", extent=extent
    )
    draw_outline(axis, np.take(region, position, axis=plane.cut), pixel)
    axis.set_xticks([])
    axis.set_yticks([])
