"""Histograms of a run: field and susceptibility in their masks, and by region where a truth has labels."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qsm_recon.datasets.case import Case
from qsm_recon.phantom.tissue import HAEMORRHAGE, TISSUES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REGIONS = {tissue.label: tissue.name for tissue in (*TISSUES, HAEMORRHAGE)}
"""Names of the challenge's labels."""
LEAST_VOXELS = 20
"""Of a region, for a histogram of it."""
WIDTH_INCHES, COLUMNS = 10.0, 4


def histograms(case: Case, susceptibility: NDArray[np.float32], covered: NDArray[np.bool_]) -> Figure:
    """Draw histograms of the field and the susceptibility in their masks, with the truth where known.

    Parameters
    ----------
    case
        The data set.
    susceptibility
        (nx, ny, nz) the map in ppm as it is written.
    covered
        (nx, ny, nz) the voxels that have a result.
    """
    from matplotlib.figure import Figure

    problem, total = case.problem, case.stages.get("total_field_ppm")
    figure = Figure(figsize=(WIDTH_INCHES, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    fields = {"field" if total is None else "local field": problem.field_ppm[problem.mask]}
    if total is not None:
        fields = {"total field": total[case.given_mask], **fields}
    _draw(left, fields, "field (ppm)")
    maps = {"map": susceptibility[covered]}
    if case.truth is not None:
        maps["truth"] = case.truth.susceptibility_ppm[case.compared(covered)]
    _draw(right, maps, "susceptibility (ppm)")
    return figure


def region_histograms(case: Case, susceptibility: NDArray[np.float32], covered: NDArray[np.bool_]) -> Figure | None:
    """Draw a histogram of the map and the truth in each labelled region; None where there are none.

    Parameters
    ----------
    case, susceptibility, covered
        As for :func:`histograms`.
    """
    from matplotlib.figure import Figure

    regions = labelled_regions(case, covered)
    if not regions:
        return None
    assert case.truth is not None  # it has the labels
    rows = -(-len(regions) // COLUMNS)
    figure = Figure(figsize=(WIDTH_INCHES, 1.7 * rows), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axis in axes[len(regions) :]:
        axis.remove()
    for axis, (name, region) in zip(axes, regions.items(), strict=False):
        _draw(axis, {"map": susceptibility[region], "truth": case.truth.susceptibility_ppm[region]}, "", legend=False)
        axis.set_title(name, fontsize=8)
    axes[0].legend(fontsize=7, framealpha=0.7)
    return figure


def labelled_regions(case: Case, covered: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    """Where the regions of the truth's label map lie, by name, as far as they are compared; empty without labels."""
    if case.truth is None or case.truth.labels is None:
        return {}
    labels, compared = case.truth.labels, case.compared(covered) & covered
    regions = {}
    for label in np.unique(labels[compared]):
        region = compared & (labels == label)
        if label > 0 and np.count_nonzero(region) >= LEAST_VOXELS:
            regions[REGIONS.get(int(label), f"label {int(label)}")] = region
    return regions


def as_svg(figure: Figure) -> str:
    """Return a figure as SVG in base64."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return base64.b64encode(stream.getvalue().encode()).decode("ascii")


def _draw(axis: Axes, samples: dict[str, NDArray], label: str, *, legend: bool = True) -> None:
    """Draw densities of samples over the range that holds 99 % of each; what lies beyond is in the outermost bins."""
    ends = np.array([np.percentile(values, (0.5, 99.5)) for values in samples.values()], float)
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    margin = 0.08 * (high - low) or 1e-3
    bins = int(np.clip(np.sqrt(min(values.size for values in samples.values())), 12, 80))
    edges = np.linspace(low - margin, high + margin, bins + 1)
    for index, (name, values) in enumerate(samples.items()):
        filled = index == len(samples) - 1 if "truth" not in samples else name == "map"
        style = {"histtype": "stepfilled", "alpha": 0.55} if filled else {"histtype": "step", "color": "black", "lw": 1}
        weights = np.full(values.size, 100 / values.size)
        axis.hist(np.clip(values, edges[0], edges[-1]), edges, weights=weights, label=name, **style)  # type: ignore[arg-type]
    axis.axvline(0, color="0.6", lw=0.7, zorder=0)
    axis.set_xlim(edges[0], edges[-1])
    axis.set_xlabel(label, fontsize=9)
    axis.set_ylabel("% of voxels" if label else "", fontsize=9)
    axis.tick_params(labelsize=8 if label else 7)
    axis.locator_params(axis="x", nbins=7 if label else 4)
    if legend and len(samples) > 1:
        axis.legend(fontsize=8, framealpha=0.7)
