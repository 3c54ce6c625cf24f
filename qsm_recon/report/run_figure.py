"""The picture of a run: field, susceptibility and error in three planes, and the convergence curves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qsm_recon.io import atomic_write
from qsm_recon.report.planes import PLANES, Plane, Turn, any_letters, bounding_box, draw_letters, draw_outline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

PANELS_ABREAST = 2
PANEL_INCHES, TITLE_INCHES, HISTORY_INCHES = 8.0, 0.25, 2.6
LEGEND_COLUMNS = 3
DOTS_PER_INCH = 120
PNG = {"compress_level": 3}
"""A tenth larger than with the usual 6, for two thirds of the time."""
MARGIN_VOXELS, OUTLINED_MARGIN_VOXELS = 3, 12
"""How far around the mask views reach, and where one has to see what a made mask left out."""
OUTLINE = "tab:orange"
USUAL_WINDOW_PPM = 0.1
"""Brain tissue lies within this of zero; the usual grey window of susceptibility maps."""
COLOURS = {"primal": "tab:blue", "dual": "tab:red", "update": "tab:green", "": "tab:purple"}
"""Colour of a curve by the beginning of its name."""
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
DASHES = {"gradient": "-", "field": "--"}
"""Line style of a residual by the end of its name; dotted for other splittings."""


@dataclass(frozen=True)
class Panel:
    """One image of the figure: name, values (nx, ny, nz), the grey window's half width and centre, and the unit.

    One that is not masked shows what is outside the mask too.
    """

    name: str
    values: NDArray
    window: float
    centre: float = 0.0
    unit: str = "ppm"
    masked: bool = True


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
    *,
    margin_voxels: int = MARGIN_VOXELS,
) -> Figure:
    """Draw panels in three orthogonal views through the mask's centre, two panels abreast, and an iteration's history.

    Parameters
    ----------
    panels
        What is shown.
    mask
        (nx, ny, nz) region; the views are cropped to it, and its border is drawn.
    affine
        (4, 4) voxel-to-world matrix; views are drawn with anterior and superior up, the subject's right on the right.
    history
        Monitored numbers per iteration; empty for closed forms.
    title
        Text above everything.
    margin_voxels
        How far around the mask the views reach.
    """
    from matplotlib.figure import Figure

    turn = Turn.of(affine)
    whole = turn.apply(mask)
    box = bounding_box(whole, margin_voxels)
    region = whole[box]
    lengths = [n * d for n, d in zip(region.shape, turn.voxel_size_mm, strict=True)]
    widths = [lengths[plane.right] for plane in PLANES]
    tallest = max(lengths[plane.up] for plane in PLANES)
    slices = [
        "{} = {}".format(*turn.stored_index(p.cut, box[p.cut].start + region.shape[p.cut] // 2, whole.shape[p.cut]))
        for p in PLANES
    ]

    abreast = min(len(panels), PANELS_ABREAST)
    rows = -(-len(panels) // abreast)
    row_inches = min(max((PANEL_INCHES - 1.2) * tallest / sum(widths), 1.5), 6.0)
    heights = [row_inches + TITLE_INCHES] * rows + ([HISTORY_INCHES] if history else [])
    size = PANEL_INCHES * abreast, sum(heights) + 0.7
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    figure.suptitle(title, fontsize=12, parse_math=False)  # the names of files may hold anything
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    for row in range(rows):
        places = grid[row].subgridspec(1, abreast, wspace=0.04)
        for column, panel in enumerate(panels[row * abreast : (row + 1) * abreast]):
            values = turn.apply(panel.values)[box]
            volume = np.where(region, values, panel.centre) if panel.masked else values
            views = places[column].subgridspec(1, 3, width_ratios=widths, wspace=0.02)
            axes = [figure.add_subplot(views[0, k]) for k in range(3)]
            for axis, plane, cut in zip(axes, PLANES, slices, strict=True):
                _draw_plane(axis, volume, region, plane, panel, turn.voxel_size_mm, tallest)
                axis.set_title(f"{plane.name}, {cut}", fontsize=9)
            axes[0].set_ylabel(panel.name, fontsize=11)
            for axis in axes[1:]:
                axis.yaxis.set_visible(False)
            scale = figure.colorbar(axes[-1].images[0], ax=axes, shrink=0.75, pad=0.01, aspect=16, extend="both")
            scale.set_label(panel.unit, fontsize=9)
            scale.ax.locator_params(nbins=5)
            scale.ax.tick_params(labelsize=9)
    if history:
        _draw_history(figure, grid[rows], history)
    return figure


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG in one step; its title is in the file's metadata too.

    Raises
    ------
    ResourceError
        If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    metadata = {"Title": " ".join(text.get_text() for text in figure.texts)}
    canvas = FigureCanvasAgg(figure)  # which draws once, where Figure.savefig would draw twice
    with any_letters():
        return atomic_write(path, lambda temporary: canvas.print_png(temporary, metadata=metadata, pil_kwargs=PNG))


def _draw_plane(
    axis: Axes,
    volume: NDArray,
    region: NDArray[np.bool_],
    plane: Plane,
    panel: Panel,
    sizes: tuple[float, ...],
    tallest: float,
) -> None:
    """Draw one view to scale in millimetres, in a frame as tall as the tallest view, with letters and outline."""
    middle = volume.shape[plane.cut] // 2
    width, height = volume.shape[plane.right] * sizes[plane.right], volume.shape[plane.up] * sizes[plane.up]
    axis.imshow(
        volume.take(middle, axis=plane.cut).T,
        cmap="gray",
        origin="lower",
        interpolation="nearest",
        extent=(0, width, 0, height),
        vmin=panel.centre - panel.window,
        vmax=panel.centre + panel.window,
    )
    # What the taller views leave over is of the colour outside the mask: the grey of zero, or air.
    axis.set_facecolor("0.5" if panel.masked else "black")
    axis.set_ylim((height - tallest) / 2, (height + tallest) / 2)
    axis.xaxis.set_visible(False)
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)
    draw_outline(axis, region.take(middle, axis=plane.cut), (sizes[plane.right], sizes[plane.up]), OUTLINE)
    draw_letters(axis, plane)


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


def _power_of_ten(value: float, _position: float | None = None) -> str:
    """Label of a tick at a power of ten, without matplotlib's parser of formulas, which takes a tenth of a second."""
    return "10" + str(round(float(np.log10(value)))).translate(RAISED) if value > 0 else ""


def _tidy(axis: Axes, label: str) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    axis.set_yscale("log")
    low, high = axis.get_ylim()
    if high / low < 30:  # less than a decade or two: round numbers between the powers of ten
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7) if high / low < 5 else (1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
    else:
        axis.yaxis.set_major_formatter(_power_of_ten)
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.margins(x=0.01)
    axis.grid(color="0.9", lw=0.6)
    axis.set_xlabel("iteration", fontsize=9)
    axis.set_ylabel(label, fontsize=9)
    axis.tick_params(labelsize=9)
    # Above the axes, where it can cover no curve.
    axis.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=LEGEND_COLUMNS, frameon=False)
