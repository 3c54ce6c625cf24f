"""The error map: truth, reconstruction and their difference in three planes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qsm_recon.io import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARGIN = 3  # voxels shown around the mask
AXIS_NAMES = ("x", "y", "z")
PANEL_WIDTH_INCHES = 2.9


def error_figure(
    susceptibility: NDArray,
    truth: NDArray,
    mask: NDArray,
    *,
    voxel_size_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
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
        Voxel edge lengths along the axes, for the proportions.
    title
        Text above the panels.
    window_ppm
        Grey values run from minus to plus this, in all panels.
    """
    from matplotlib.figure import Figure

    inside = np.asarray(mask, dtype=bool)
    occupied = [np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    box = tuple(slice(max(int(i[0]) - MARGIN, 0), int(i[-1]) + 1 + MARGIN) for i in occupied)
    region = inside[box]
    true, recon = (
        np.where(region, np.nan_to_num(image[box]) - np.nan_to_num(image[inside]).mean(), 0.0)
        for image in (truth, susceptibility)
    )
    panels = {"truth": true, "reconstruction": recon, "error": recon - true}
    centre = [round(float(indices.mean())) for indices in np.nonzero(region)]

    size_mm = [n * d for n, d in zip(region.shape, voxel_size_mm, strict=True)]
    planes = [(2, 0, 1), (1, 0, 2), (0, 1, 2)]  # the axis cut, the one drawn to the right, the one drawn upwards
    heights = [size_mm[up] / size_mm[right] for _, right, up in planes]
    figure = Figure(
        figsize=(3 * PANEL_WIDTH_INCHES + 0.9, PANEL_WIDTH_INCHES * sum(heights) + 0.7), layout="constrained"
    )
    axes = figure.subplots(3, 3, height_ratios=heights, squeeze=False)
    for row, (cut, right, up) in zip(axes, planes, strict=True):
        for axis, (name, volume) in zip(row, panels.items(), strict=True):
            plane = volume.take(centre[cut], axis=cut)
            _show(axis, plane, window_ppm, voxel_size_mm[up] / voxel_size_mm[right])
            if cut == 2:
                axis.set_title(name)
        row[0].set_ylabel(f"{AXIS_NAMES[cut]} = {centre[cut] + box[cut].start}")
    scale = figure.colorbar(axes[0, 0].images[0], ax=axes, shrink=0.5, pad=0.02)
    scale.set_label("susceptibility less its mean over the mask [ppm]")
    figure.suptitle(title)
    return figure


def save_error_figure(path: str | Path, figure: Figure, *, dots_per_inch: int = 120) -> Path:
    """Write a figure as an image, in one step.

    Raises
    ------
    ResourceError
        If the file cannot be written.
    """
    return atomic_write(path, lambda temporary: figure.savefig(temporary, dpi=dots_per_inch))


def _show(axis: Axes, plane: NDArray, window_ppm: float, aspect: float) -> None:
    axis.imshow(plane.T, cmap="gray", vmin=-window_ppm, vmax=window_ppm, origin="lower", aspect=aspect)
    axis.set_xticks([])
    axis.set_yticks([])
