"""The picture of the phantom: truth, labels, magnitude, phase and frequency in three planes."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qsm_recon.io import atomic_write
from qsm_recon.phantom import Phantom, PhantomParameters, build_phantom
from qsm_recon.phantom.geometry import output_grid
from qsm_recon.phantom.presets import PRESETS, with_preset
from qsm_recon.report.planes import PLANES, draw_letters
from qsm_recon.units import hz_per_ppm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CENTRE_MM = (12.0, -8.0, 6.0)
"""Where the three planes cross: basal ganglia, thalamus and ventricles."""
ROW_INCHES = 3.9
TITLE_INCHES = 0.3
LABEL_COLOURS = {
    0: "#000000",
    1: "#e6550d",
    2: "#31a354",
    3: "#fd8d3c",
    4: "#de2d26",
    5: "#c994c7",
    6: "#8856a7",
    7: "#fdd049",
    8: "#e8e8e8",
    9: "#8a8f98",
    10: "#2b6cb0",
    11: "#ff2d55",
    16: "#00e5ff",
    17: "#7f0000",
}


@dataclass(frozen=True)
class Row:
    """One quantity: how it is named and shown."""

    title: str
    image: NDArray
    window: tuple[float, float]
    labels: bool = False


def phantom_figure(phantom: Phantom) -> Figure:
    """Draw axial, coronal and sagittal planes of everything a phantom holds.

    Parameters
    ----------
    phantom
        What to draw.
    """
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.figure import Figure

    numbers = sorted(LABEL_COLOURS)
    colours = ListedColormap([LABEL_COLOURS[number] for number in numbers])
    steps = BoundaryNorm([number - 0.5 for number in numbers] + [numbers[-1] + 0.5], len(numbers))
    rows = _rows(phantom)
    origin = output_grid(phantom.voxel_size_mm).origin_mm
    index = [round((c - o) / d) for c, o, d in zip(CENTRE_MM, origin, phantom.voxel_size_mm, strict=True)]
    dx, dy, dz = phantom.voxel_size_mm
    figure = Figure(figsize=(11.5, ROW_INCHES * len(rows)), facecolor="black")
    axes = figure.subplots(
        len(rows), 3, gridspec_kw={"width_ratios": [164, 164, 205], "wspace": 0.01, "hspace": TITLE_INCHES / ROW_INCHES}
    )
    for row, panels in zip(rows, axes, strict=True):
        for panel, plane, aspect in zip(panels, PLANES, (dy / dx, dz / dx, dz / dy), strict=True):
            how = (
                {"cmap": colours, "norm": steps}
                if row.labels
                else {"cmap": "gray", "vmin": row.window[0], "vmax": row.window[1]}
            )
            view = row.image.take(index[plane.cut], axis=plane.cut)
            panel.imshow(view.T, origin="lower", interpolation="nearest", aspect=aspect, **how)
            panel.set_axis_off()
            draw_letters(panel, plane)
        panels[0].set_title(row.title, loc="left", color="white", fontsize=11, pad=4)
    figure.subplots_adjust(0, 0, 1, 1 - TITLE_INCHES / figure.get_figheight())
    return figure


def _rows(phantom: Phantom) -> list[Row]:
    first, last = phantom.echoes[..., 0], phantom.echoes[..., -1]
    times = [1e3 * t for t in phantom.echo_times_s]
    frequency = hz_per_ppm(phantom.b0_tesla) * phantom.field_ppm * phantom.mask
    brightest = [float(np.percentile(np.abs(echo)[phantom.mask], 99.5)) for echo in (first, last)]
    rows = [
        Row("susceptibility, −0.1 … 0.1 ppm", phantom.susceptibility_ppm, (-0.1, 0.1)),
        Row("labels", phantom.labels, (0, 17), labels=True),
        Row(f"magnitude, {times[0]:g} ms", np.abs(first), (0, brightest[0])),
        Row(f"magnitude, {times[-1]:g} ms", np.abs(last), (0, brightest[1])),
        Row(f"phase, {times[-1]:g} ms, −π … π", np.angle(last), (-np.pi, np.pi)),
        Row("frequency, −12 … 12 Hz", frequency, (-12, 12)),
    ]
    others = {"microstructure": phantom.microstructure_field_ppm, "background remnant": phantom.remnant_field_ppm}
    for name, part in others.items():
        if part.any():
            shift = hz_per_ppm(phantom.b0_tesla) * part * phantom.mask
            rows.append(Row(f"frequency by {name}, −3 … 3 Hz", shift, (-3, 3)))
    return rows


def save_phantom_figure(phantom: Phantom, path: Path, dots_per_inch: int = 75) -> None:
    """Write the picture of a phantom as PNG.

    Parameters
    ----------
    phantom
        What to draw.
    path
        PNG file.
    dots_per_inch
        Resolution.
    """
    figure = phantom_figure(phantom)
    atomic_write(path, lambda temporary: figure.savefig(temporary, dpi=dots_per_inch, facecolor="black", format="png"))


def main() -> None:
    """Draw heads by name: ``python -m qsm_recon.report.phantom_figure --out docs/pictures``."""
    parser = argparse.ArgumentParser(description="Draw the phantom: SIM1 and SIM2, and SIM2 with other anatomies.")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"), help="folder for the pictures")
    parser.add_argument("--size", choices=("full", "reduced"), default="full")
    parser.add_argument("--anatomy", nargs="*", choices=tuple(PRESETS), default=("published",), help="which heads")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for anatomy in arguments.anatomy:
        published = anatomy == "published"
        for case in ("sim1", "sim2") if published else ("sim2",):
            given = {"case": case, "size": arguments.size}
            phantom = build_phantom(PhantomParameters(**with_preset(anatomy, given)))
            save_phantom_figure(phantom, arguments.out / f"phantom_{case if published else anatomy}.png")


if __name__ == "__main__":
    main()
