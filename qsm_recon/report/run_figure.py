"""The picture of a run: field, susceptibility and error in three planes, and the convergence curve."""

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

PANEL_INCHES = 2.9
DOTS_PER_INCH = 110
# Axis cut, axis drawn to the right, axis drawn upwards, and the name, in right-anterior-superior axes.
PLANES = ((2, 0, 1, "axial"), (1, 0, 2, "coronal"), (0, 1, 2, "sagittal"))


@dataclass(frozen=True)
class Panel:
    """One image of the figure: name with unit, values (nx, ny, nz), and the grey window's half width."""

    name: str
    values: NDArray
    window: float


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
    box = tuple(slice(max(int(i[0]) - 3, 0), int(i[-1]) + 4) for i in occupied)
    region = region[box]
    centre = [n // 2 for n in region.shape]
    lengths = [n * d for n, d in zip(region.shape, sizes, strict=True)]

    rows = len(panels) + (1 if history else 0)
    widths = [lengths[right] for _, right, _, _ in PLANES]
    tallest = max(lengths[up] for _, _, up, _ in PLANES)
    height = PANEL_INCHES * tallest / max(widths)
    figure = Figure(figsize=(3 * PANEL_INCHES + 1.2, rows * height + 0.5), layout="constrained")
    figure.suptitle(title)
    grid = figure.add_gridspec(rows, 3, width_ratios=widths)
    for row, panel in enumerate(panels):
        volume = np.where(region, _to_ras(panel.values, order, flips)[box], 0)
        axes = [figure.add_subplot(grid[row, column]) for column in range(3)]
        for axis, (cut, right, up, name) in zip(axes, PLANES, strict=True):
            shown = volume.take(centre[cut], axis=cut).T
            axis.imshow(
                shown,
                cmap="gray",
                origin="lower",
                vmin=-panel.window,
                vmax=panel.window,
                aspect=sizes[up] / sizes[right],
            )
            axis.set_xticks([])
            axis.set_yticks([])
            if row == 0:
                axis.set_title(name)
        axes[0].set_ylabel(panel.name)
        figure.colorbar(axes[-1].images[0], ax=axes, shrink=0.8, pad=0.01)
    if history:
        _draw_history(figure.add_subplot(grid[rows - 1, :]), history)
    return figure


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG in one step.

    Raises
    ------
    ResourceError
        If the file cannot be written.
    """
    return atomic_write(path, lambda temporary: figure.savefig(temporary, dpi=DOTS_PER_INCH))


def _draw_history(axis: Axes, history: dict[str, list[float]]) -> None:
    iterations = np.arange(1, len(history["objective"]) + 1)
    axis.semilogy(iterations, history["objective"], color="black", label="objective")
    axis.set_xlabel("iteration")
    axis.set_ylabel("objective")
    axis.margins(x=0)
    other = axis.twinx()
    styles = {"primal_residual": "tab:blue", "dual_residual": "tab:red", "update": "tab:green"}
    for name, values in history.items():
        colour = next((c for start, c in styles.items() if name.startswith(start)), None)
        if colour is not None:
            line = "--" if name.endswith("field") else "-"
            other.semilogy(
                iterations, np.maximum(values, 1e-12), line, color=colour, lw=1, label=name.replace("_", " ")
            )
    other.set_ylabel("relative residual")
    lines = [*axis.get_lines(), *other.get_lines()]
    axis.legend(lines, [str(line.get_label()) for line in lines], fontsize="x-small", loc="upper right", ncols=3)


def _to_ras(volume: NDArray, order: tuple[int, ...], flips: tuple[bool, ...]) -> NDArray:
    turned = volume.transpose(order)
    return turned[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]
