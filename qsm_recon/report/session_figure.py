"""The figure of a tuning session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from qsm_recon.select.curve import Curve, curvature
from qsm_recon.select.minimum_risk import LEFT_OFF_CONE
from qsm_recon.select.pick import Pick

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE_PAD = 20
"""Points between axes and title where a line of names lies between them."""
MARKERS = ("*", "o", "s", "^", "D", "v", "P", "X", "<", ">")


def session_figure(curve: Curve, picks: Sequence[Pick], parameter: str, title: str = "") -> Figure:
    """Draw an L-curve, its curvature, spectra, misfits and the estimated error, with what each rule picks.

    Parameters
    ----------
    curve
        The costs.
    picks
        What the rules say; those that found nothing are listed without a mark.
    parameter
        Name of the parameter, with its unit.
    title
        Text above everything.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(16, 8), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12, parse_math=False)  # the names of files may hold anything
    corner, bend, bands, misfit, error, ratio = figure.subplots(2, 3).ravel()
    corner.loglog(curve.data_cost, curve.regularisation_cost, ".-", color="grey")
    corner.set(xlabel="data cost", ylabel="regularisation cost", title="L-curve")
    trusted = curve.trusted()
    if len(trusted) >= 5:
        fine = curvature(trusted)
        bend.semilogx(fine.parameter, fine.value, color="black")
    bend.axhline(0, color="grey", lw=0.5)
    bend.set(xlabel=parameter, ylabel="curvature", title="curvature of the L-curve (positive: convex)")
    if curve.band_means is not None:
        for band, name in enumerate(("magic cone", "near it", "off it")):
            bands.loglog(curve.parameter, curve.band_means[:, band], ".-", label=name)
        _legend_above(bands)
    bands.set(xlabel=parameter, ylabel="mean of |F χ|")
    bands.set_title("spectrum by distance from the magic cone", pad=TITLE_PAD)
    misfit.loglog(curve.parameter, curve.data_cost, ".-", color="black", label="data cost")
    if curve.noise_cost is not None:
        misfit.loglog(curve.parameter, curve.noise_cost, "--", color="tab:red", label="that of the noise")
    _legend_above(misfit)
    misfit.set(xlabel=parameter, ylabel="data cost")
    misfit.set_title("misfit", pad=TITLE_PAD)
    if curve.risk is not None:
        known = np.isfinite(curve.risk) & (curve.risk > 0)
        error.loglog(curve.parameter[known], 1e3 * np.sqrt(curve.risk[known]), ".-", color="black")
    error.set(xlabel=parameter, ylabel="ppb", title="estimated error of the map, off the magic cone")
    if curve.misfit_ratio is not None:
        ratio.loglog(curve.parameter, curve.misfit_ratio, ".-", color="black")
        ratio.axhline(LEFT_OFF_CONE, color="tab:red", ls="--", lw=1)
    ratio.set(xlabel=parameter, title="residual off the magic cone over that on it (power)")
    _mark(corner, (bend, bands, misfit, error, ratio), curve, picks)
    for axis in (bend, bands, misfit, error, ratio):
        axis.xaxis.set_minor_formatter(NullFormatter())  # they would run into each other
    return figure


def _mark(corner: Axes, others: Sequence[Axes], curve: Curve, picks: Sequence[Pick]) -> None:
    t = np.log(curve.parameter)
    for index, (pick, marker) in enumerate(zip(picks, MARKERS, strict=False)):
        if pick.value is None:
            corner.plot([], [], " ", label=f"{pick.method}: none")
            continue
        x, y = (
            np.exp(np.interp(np.log(pick.value), t, np.log(v))) for v in (curve.data_cost, curve.regularisation_cost)
        )
        colour = f"C{index}"
        # The earlier ones on top: auto is the first, and often lies where the rule does that it follows.
        corner.plot(
            x, y, marker, color=colour, label=f"{pick.method}: {pick.value:.3g}",
            ms=9 + 5 * (index == 0), mec="white", mew=0.6, zorder=5 - 0.1 * index,
        )  # fmt: skip
        for axis in others:
            axis.axvline(pick.value, color=colour, lw=1, alpha=0.7)
    # Beside the axes: it has a line for every rule, and would cover the curve.
    corner.figure.legend(*corner.get_legend_handles_labels(), loc="outside right upper", title="picks", frameon=False)


def _legend_above(axis: Axes) -> None:
    """Name the curves in one line between title and axes, where the names cover none of them."""
    columns = len(axis.get_lines())
    axis.legend(fontsize="small", loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False, borderpad=0)
