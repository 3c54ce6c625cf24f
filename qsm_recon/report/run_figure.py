"""The picture of a run: field, susceptibility and error in three planes, and the convergence curves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qsm_recon.io import atomic_write, axes_to_ras

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

WIDTH_INCHES = 10.0
HISTORY_INCHES = 2.3
DOTS_PER_INCH = 120
MARGIN_VOXELS, OUTLINED_MARGIN_VOXELS = 3, 12
"""How far around the mask views reach, and where a panel shows what is outside."""
OUTLINE = "tab:orange"
USUAL_WINDOW_PPM = 0.1
"""Brain tissue lies within this of zero; the usual grey window of susceptibility maps."""
# Axis cut, axis drawn to the right, axis drawn upwards, and the name, in right-anterior-superior axes.
PLANES = ((2, 0, 1, "axial"), (1, 0, 2, "coronal"), (0, 1, 2, "sagittal"))
LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))
COLOURS = {"primal": "tab:blue", "dual": "tab:red", "update": "tab:green", "": "tab:purple"}
"""Colour of a curve by the beginning of its name."""
DASHES = {"gradient": "-", "field": "--"}
"""Line style of a residual by the end of its name; dotted for other splittings."""


@dataclass(frozen=True)
class Panel:
    """One image of the figure: name, values (nx, ny, nz), the grey window's half width and centre, and the unit.

    An outlined one shows what is outside the mask too, and where the mask ends.
    """

    name: str
    values: NDArray
    window: float
    centre: float = 0.0
    unit: str = "ppm"
    outlined: bool = False


def grey_window(values: NDArray[np.floating]) -> float:
    """Half width of the grey window: the usual one wherever it is sensible, so that pictures compare.

    Parameters
    ----------
    values
        Susceptibility in ppm inside the mask.
    """
    reach = float(np.percentile(np.abs(values), 95))
    if reach == 0 or USUAL_WINDOW_PPM / 10 <= reach <= 2 * USUAL_WINDOW_PPM:
        return USUAL_WINDOW_PPM
    power = 10.0 ** np.floor(np.log10(reach))
    return float(next(power * step for step in (1, 2, 5, 10) if power * step >= reach))


def run_figure(
    panels: list[Panel],
    mask: NDArray[np.bool_],
    affine: NDArray[np.floating],
    history: dict[str, list[float]],
    title: str,
) -> Figure:
    """Draw panels in three orthogonal views through the mask's centre, and the history of an iteration.

    Parameters
    ----------
    panels
        What is shown, one row each.
    mask
        (nx, ny, nz) region; the views are cropped to it.
    affine
        (4, 4) voxel-to-world matrix; views are drawn with anterior and superior up, the subject's right on the right.
    history
        Monitored numbers per iteration; empty for closed forms.
    title
        Text above everything.
    """
    from matplotlib.figure import Figure

    order, flips, sizes = axes_to_ras(affine)
    region = _to_ras(mask, order, flips)
    occupied = [np.flatnonzero(region.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    margin = OUTLINED_MARGIN_VOXELS if any(panel.outlined for panel in panels) else MARGIN_VOXELS
    box = tuple(slice(max(int(i[0]) - margin, 0), int(i[-1]) + 1 + margin) for i in occupied)
    region = region[box]
    lengths = [n * d for n, d in zip(region.shape, sizes, strict=True)]
    widths = [lengths[right] for _, right, _, _ in PLANES]
    tallest = max(lengths[up] for _, _, up, _ in PLANES)

    row_inches = (WIDTH_INCHES - 1.2) * tallest / sum(widths)
    row_inches = min(max(row_inches, 1.5), 6.0)
    heights = [row_inches] * len(panels) + ([HISTORY_INCHES] if history else [])
    figure = Figure(figsize=(WIDTH_INCHES, sum(heights) + 0.7), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = figure.add_gridspec(len(heights), 3, width_ratios=widths, height_ratios=heights)
    for row, panel in enumerate(panels):
        values = _to_ras(panel.values, order, flips)[box]
        volume = values if panel.outlined else np.where(region, values, panel.centre)
        axes = [figure.add_subplot(grid[row, column]) for column in range(3)]
        for axis, plane in zip(axes, PLANES, strict=True):
            _draw_plane(axis, volume, plane, panel, sizes, tallest)
            if panel.outlined:
                _draw_outline(axis, region, plane, sizes)
            if row == 0:
                axis.set_title(plane[3], fontsize=10)
        axes[0].set_ylabel(panel.name, fontsize=11)
        scale = figure.colorbar(axes[-1].images[0], ax=axes, shrink=0.75, pad=0.01, aspect=16, extend="both")
        scale.set_label(panel.unit, fontsize=9)
        scale.ax.locator_params(nbins=5)
        scale.ax.tick_params(labelsize=9)
    if history:
        _draw_history(figure, grid[len(panels), :], history)
    return figure


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG in one step.

    Raises
    ------
    ResourceError
        If the file cannot be written.
    """
    return atomic_write(path, lambda temporary: figure.savefig(temporary, dpi=DOTS_PER_INCH))


def _draw_plane(
    axis: Axes,
    volume: NDArray,
    plane: tuple[int, int, int, str],
    panel: Panel,
    sizes: tuple[float, ...],
    tallest: float,
) -> None:
    """Draw one view to scale in millimetres, in a frame as tall as the tallest view, with the directions' letters."""
    cut, right, up, _ = plane
    width, height = volume.shape[right] * sizes[right], volume.shape[up] * sizes[up]
    axis.imshow(
        volume.take(volume.shape[cut] // 2, axis=cut).T,
        cmap="gray",
        origin="lower",
        interpolation="nearest",
        extent=(0, width, 0, height),
        vmin=panel.centre - panel.window,
        vmax=panel.centre + panel.window,
    )
    axis.set_facecolor("0.5")  # the grey of zero, which is the value outside the mask
    axis.set_ylim((height - tallest) / 2, (height + tallest) / 2)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)
    places = ((0.01, 0.5, right, 0), (0.99, 0.5, right, 1), (0.5, 0.01, up, 0), (0.5, 0.99, up, 1))
    for x, y, direction, end in places:
        horizontal = {0.01: "left", 0.99: "right"}.get(x, "center")
        vertical = {0.01: "bottom", 0.99: "top"}.get(y, "center")
        letter = LETTERS[direction][end]
        axis.text(x, y, letter, transform=axis.transAxes, color="white", fontsize=8, ha=horizontal, va=vertical)


def _draw_outline(
    axis: Axes, region: NDArray[np.bool_], plane: tuple[int, int, int, str], sizes: tuple[float, ...]
) -> None:
    """Draw the border of the mask in one view."""
    cut, right, up, _ = plane
    # A frame of empty voxels closes the line where the mask reaches the border of the picture.
    inside = np.pad(region.take(region.shape[cut] // 2, axis=cut).T, 1).astype(float)
    rows, columns = (
        (np.arange(n) - 0.5) * size for n, size in zip(inside.shape, (sizes[up], sizes[right]), strict=True)
    )
    if inside.any():
        axis.contour(columns, rows, inside, levels=[0.5], colors=OUTLINE, linewidths=0.8)


def _draw_history(figure: Figure, place: SubplotSpec, history: dict[str, list[float]]) -> None:
    """Draw what falls towards a minimum on the left, what must vanish on the right."""
    terms = {name: history[name] for name in ("objective", "fidelity") if name in history}
    words = ("residual", "update", "gradient_norm")
    relative = {name: values for name, values in history.items() if any(word in name for word in words)}
    groups = [(name, group) for name, group in (("objective", terms), ("relative residual", relative)) if group]
    grid = place.subgridspec(1, max(len(groups), 1), wspace=0.05)
    for column, (label, group) in enumerate(groups):
        axis = figure.add_subplot(grid[0, column])
        for name, values in group.items():
            _draw_curve(axis, name, values)
        _tidy(axis, label)


def _draw_curve(axis: Axes, name: str, values: list[float]) -> None:
    iterations = np.arange(1, len(values) + 1)
    positive = np.where(np.isfinite(values) & (np.asarray(values) > 0), values, np.nan)
    if name in ("objective", "fidelity"):
        colour, dash = ("black", "-") if name == "objective" else ("0.55", "--")
    else:
        colour = next(c for word, c in COLOURS.items() if name.startswith(word))
        splitting = name.rpartition("residual_")[2] if "residual_" in name else "gradient"
        dash = DASHES.get(splitting, ":")
    marker = "." if len(values) < 8 else ""
    axis.plot(iterations, positive, dash, marker=marker, color=colour, lw=1.3, label=name.replace("_", " "))


def _tidy(axis: Axes, label: str) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    axis.set_yscale("log")
    low, high = axis.get_ylim()
    if high / low < 30:  # less than a decade or two: round numbers between the powers of ten
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7) if high / low < 5 else (1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.margins(x=0.01)
    axis.grid(color="0.9", lw=0.6)
    axis.set_xlabel("iteration", fontsize=9)
    axis.set_ylabel(label, fontsize=9)
    axis.tick_params(labelsize=9)
    columns = 1 + len(axis.get_lines()) // 6
    axis.legend(fontsize=7.5, loc="best", ncols=columns, framealpha=0.7, edgecolor="none")


def _to_ras(volume: NDArray, order: tuple[int, ...], flips: tuple[bool, ...]) -> NDArray:
    turned = volume.transpose(order)
    return turned[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]
