"""Figures after those of the challenge's report, from stored rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.suite.record import METRICS
from benchmarks.suite.standings import Submission
from benchmarks.suite.table import SHORT
from qsm_recon.metrics import OFFICIAL_METRICS
from qsm_recon.metrics.scores import SIMILARITY_METRICS
from qsm_recon.report.planes import INDEX_NAMES, PLANES, Plane, bounding_box, draw_letters

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HIGH_IS_GOOD = ("ssim", "xsim", "cc", "mi")
SCATTERED = ("nrmse", "dnrmse_blood", "dnrmse_dgm", "calcification_streaking", "xsim")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999", "#8c564b", "#bcbd22")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
WINDOW_PPM = 0.1
AXIAL, _, SAGITTAL = PLANES
TITLE_SIZE = 10
UNITS = {"nrmse": "%", "dnrmse_blood": "%", "dnrmse_dgm": "%", "calcification_streaking": "1", "xsim": "1"}


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def short_label(one: Submission) -> str:
    """Name of a submission for a figure."""
    label = one.method.replace("`", "").replace("regularisation_weighting ", "")
    return label if one.given == "fit" else f"{label}, {one.given}"


def scored(found: Sequence[Submission]) -> list[Submission]:
    """Those that have a result."""
    return [one for one in found if np.isfinite(one.nrmse())]


def leaders(found: Sequence[Submission], count: int = 5) -> list[Submission]:
    """The first of them by top-five appearances, one of each method."""
    chosen: list[Submission] = []
    for one in sorted(scored(found), key=lambda one: (one.place, one.nrmse())):
        if one.solver not in {other.solver for other in chosen}:
            chosen.append(one)
    return chosen[:count]


def top_five(
    found: Sequence[Submission], maps: Sequence[NDArray], truth: NDArray, mask: NDArray[np.bool_], title: str
) -> Figure:
    """Maps of the leaders and their errors, in the axial and the sagittal plane through the mask's centre.

    Parameters
    ----------
    found
        The leaders.
    maps
        Their maps in ppm, (nx, ny, nz), along right, anterior and superior as the phantom's are.
    truth, mask
        Truth in ppm and where it is compared.
    title
        Above the panels.
    """
    box = bounding_box(mask, margin=2)
    region = mask[box]

    def demeaned(image: NDArray) -> NDArray:
        return np.where(region, image[box] - image[mask].mean(), np.nan)

    true = demeaned(truth)
    images = [demeaned(image) for image in maps]
    figure = _figure(2.1 * (len(images) + 1) + 0.9, 8.6)
    axes = figure.subplots(4, len(images) + 1, height_ratios=[1.25, 1.25, 1, 1])
    for block, plane in enumerate((AXIAL, SAGITTAL)):
        middle = region.shape[plane.cut] // 2
        for column, image in enumerate([true, *images]):
            _panel(axes[2 * block, column], image, plane, middle)
            _panel(axes[2 * block + 1, column], image - true if column else None, plane, middle)
        name = f"{plane.name}, {INDEX_NAMES[plane.cut]} = {middle + box[plane.cut].start}"
        axes[2 * block, 0].set_ylabel(f"χ, {name}", fontsize=8)
        axes[2 * block + 1, 1].set_ylabel("less the truth", fontsize=8)
    heads = ["truth", *(f"{short_label(one)}\nNRMSE {one.nrmse():.1f} %, top five {one.top_five}×" for one in found)]
    for axis, head in zip(axes[0], heads, strict=True):
        axis.set_title(head, fontsize=8)
    scale = figure.colorbar(axes[0, 0].images[0], ax=axes, shrink=0.4, pad=0.01)
    scale.set_label("ppm, less the mean over the mask")
    figure.suptitle(title)
    return figure


def _panel(axis: Axes, image: NDArray | None, plane: Plane, position: int) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    if image is None:
        axis.axis("off")
        return
    view = image.take(position, axis=plane.cut).T
    axis.imshow(view, cmap="gray", vmin=-WINDOW_PPM, vmax=WINDOW_PPM, origin="lower", interpolation="nearest")
    axis.set_facecolor("#303040")
    draw_letters(axis, plane, size=7)


def spider(found: Sequence[Submission], title: str) -> Figure:
    """The eight official metrics of the leaders: the best of all submissions over the value, 1 at the rim."""
    figure = _figure(9.5, 5.6)
    axis = figure.add_subplot(projection="polar")
    axis.tick_params(axis="x", pad=16)
    everyone, shown = scored(found), leaders(found)
    best = {name: min(_values(everyone, name), default=0.0) for name in OFFICIAL_METRICS if _values(everyone, name)}
    names = list(best)
    angles = 2 * np.pi * np.arange(len(names)) / len(names)
    for one, colour in zip(shown, COLOURS, strict=False):
        values = [_share_of_best(one.scores.values.get(name), best[name]) for name in names]
        axis.plot([*angles, angles[0]], [*values, values[0]], color=colour, label=short_label(one), linewidth=1.6)
    axis.set_xticks(angles, [SHORT[name] for name in names])
    axis.set_ylim(0, 1.02)
    axis.set_yticks([0.25, 0.5, 0.75, 1.0], ["¼", "½", "¾", "best"], fontsize=7)
    figure.legend(loc="outside right center", fontsize="small")
    figure.suptitle(f"{title}\nbest of all submissions over the value", fontsize=TITLE_SIZE)
    return figure


def _values(found: Sequence[Submission], name: str) -> list[float]:
    return [value for one in found if (value := one.scores.values.get(name)) is not None]


def _share_of_best(value: float | None, best: float) -> float:
    """The best over a value that is better the smaller it is; 0 where there is none."""
    if value is None:
        return 0.0
    return best / value if value > 0 else 1.0


def stages(first: Sequence[Submission], second: Sequence[Submission], title: str) -> Figure:
    """NRMSE chosen without the truth (filled) beside that chosen with it (open), a line for each submission."""
    others = {(one.method, one.given): one for one in scored(second)}
    pairs = [(one, others[one.method, one.given]) for one in scored(first) if (one.method, one.given) in others]
    pairs.sort(key=lambda pair: -pair[0].nrmse())
    figure = _figure(8.5, 1.2 + 0.24 * len(pairs))
    axis = figure.subplots()
    kinds = _kinds([one for one, _ in pairs])
    for place, (one, other) in enumerate(pairs):
        colour, marker = kinds[one.kind], _marker(one)
        ends = [other.nrmse(), one.nrmse()]
        axis.plot(ends, [place, place], color=colour, linewidth=1)
        for value, face in zip(ends, ("w", colour), strict=True):
            axis.plot(value, place, linestyle="none", marker=marker, color=colour, markerfacecolor=face, markersize=6)
    axis.set_yticks(range(len(pairs)), [short_label(one) for one, _ in pairs], fontsize=8)
    axis.grid(axis="y", linewidth=0.3)
    axis.set_xlabel("NRMSE (%): filled, chosen without the truth (stage 1); open, with it (stage 2)")
    figure.suptitle(title, fontsize=TITLE_SIZE)
    _legend(figure, kinds, [one for one, _ in pairs])
    return figure


def bland_altman(
    first: Sequence[Submission], second: Sequence[Submission], names: tuple[str, str], title: str
) -> Figure:
    """Agreement of two noise levels: difference over mean, with the mean difference and 1.96 standard deviations."""
    figure = _figure(12, 4.6)
    axes = figure.subplots(1, 3)
    others = {(one.method, one.given): one for one in scored(second)}
    pairs = [(one, others[one.method, one.given]) for one in scored(first) if (one.method, one.given) in others]
    kinds = _kinds([one for one, _ in pairs])
    for axis, name in zip(axes, ("nrmse", "dnrmse_dgm", "xsim"), strict=True):
        found = [(one, one.scores.values.get(name), other.scores.values.get(name)) for one, other in pairs]
        points = [(one, 0.5 * (a + b), b - a) for one, a, b in found if a is not None and b is not None]
        for one, mean, difference in points:
            axis.plot(mean, difference, linestyle="none", marker=_marker(one), color=kinds[one.kind], markersize=6)
        if len(points) > 1:
            differences = np.array([difference for _, _, difference in points])
            bias, spread = differences.mean(), 1.96 * differences.std(ddof=1)
            for level, style in ((bias, "-"), (bias - spread, "--"), (bias + spread, "--")):
                axis.axhline(level, color="0.4", linestyle=style, linewidth=0.9)
        unit = UNITS[name]
        axis.set_xlabel(f"mean of both, {SHORT[name]} ({unit})")
        axis.set_ylabel(f"{names[1]} less {names[0]} ({unit})")
    lines = "lines: mean difference, and 1.96 standard deviations from it"
    figure.suptitle(f"{title}\n{lines}", fontsize=TITLE_SIZE)
    _legend(figure, kinds, [one for one, _ in pairs])
    return figure


def metric_correlation(found: Sequence[Submission], title: str) -> Figure:
    """Rank correlation between metrics over submissions, all signed so that more is worse."""
    from scipy.stats import rankdata

    rows = [[one.scores.values.get(name) for name in METRICS] for one in scored(found)]
    values = np.array([[np.nan if v is None else v for v in row] for row in rows], float)
    sign = np.array([-1.0 if name in HIGH_IS_GOOD else 1.0 for name in METRICS])
    size = len(METRICS)
    matrix = np.full((size, size), np.nan)
    for i, j in product(range(size), repeat=2):
        both = np.isfinite(values[:, i]) & np.isfinite(values[:, j])
        a, b = (rankdata(sign[k] * values[both, k]) for k in (i, j))
        if both.sum() > 2 and np.ptp(a) > 0 and np.ptp(b) > 0:
            matrix[i, j] = np.corrcoef(a, b)[0, 1]
    figure = _figure(8.4, 7.2)
    axis = figure.subplots()
    shown = axis.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
    labels = [SHORT[name] for name in METRICS]
    axis.set_xticks(range(size), labels, rotation=60, ha="right")
    axis.set_yticks(range(size), labels)
    for (i, j), value in np.ndenumerate(matrix):
        text = "–" if np.isnan(value) else f"{value:.2f}"
        axis.text(j, i, text, ha="center", va="center", fontsize=6, color="w" if abs(value) > 0.6 else "k")
    axis.axhline(len(OFFICIAL_METRICS) - 0.5, color="k", linewidth=1)
    axis.axvline(len(OFFICIAL_METRICS) - 0.5, color="k", linewidth=1)
    figure.colorbar(shown, label=f"Spearman's rank correlation over {len(rows)} submissions", shrink=0.8)
    axis.set_title(f"{title}\nmetrics, signed so that more is worse", fontsize=TITLE_SIZE)
    assert len(SIMILARITY_METRICS) + len(OFFICIAL_METRICS) == size
    return figure


def scatter_matrix(found: Sequence[Submission], title: str) -> Figure:
    """Metrics against each other: colours are classes of methods, markers classes of input."""
    figure = _figure(11, 9.5)
    axes = figure.subplots(len(SCATTERED), len(SCATTERED))
    everyone = scored(found)
    kinds = _kinds(everyone)
    for (row, vertical), (column, horizontal) in product(enumerate(SCATTERED), repeat=2):
        axis = axes[row, column]
        axis.tick_params(labelsize=6)
        if column > row:
            axis.axis("off")
            continue
        if row == column:
            axis.hist(_values(everyone, vertical), bins=12, color="0.6")
        else:
            for one in everyone:
                x, y = one.scores.values.get(horizontal), one.scores.values.get(vertical)
                if x is not None and y is not None:
                    axis.plot(x, y, linestyle="none", marker=_marker(one), color=kinds[one.kind], markersize=5)
        if row == len(SCATTERED) - 1:
            axis.set_xlabel(f"{SHORT[horizontal]} ({UNITS[horizontal]})", fontsize=8)
        if column == 0:
            axis.set_ylabel("submissions" if row == 0 else f"{SHORT[vertical]} ({UNITS[vertical]})", fontsize=8)
    figure.suptitle(title, fontsize=TITLE_SIZE)
    _legend(figure, kinds, everyone)
    return figure


def _kinds(found: Sequence[Submission]) -> dict[str, str]:
    return dict(zip(sorted({one.kind for one in found}), COLOURS * 3, strict=False))


NAMED = ("fit", "echoes", "as given")
"""Inputs whose points have names; the markers of the others tell them apart."""
GIVEN = ("fit", "difference", "fit, field only", "difference, field only", "echoes")
INPUT_MARKERS = dict(zip(GIVEN, MARKERS, strict=False))


def _marker(one: Submission) -> str:
    return INPUT_MARKERS.get(one.given, MARKERS[-1])


def _legend(figure: Figure, kinds: dict[str, str], found: Sequence[Submission]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linestyle="none", marker="o", color=colour, label=kind) for kind, colour in kinds.items()]
    given = list(dict.fromkeys(one.given for one in found))
    for name in given:
        marker = INPUT_MARKERS.get(name, MARKERS[-1])
        handles.append(
            Line2D([], [], linestyle="none", marker=marker, color="0.4", markerfacecolor="w", label=f"from {name}")
        )
    if handles:
        figure.legend(handles=handles, loc="outside right center", fontsize="x-small")
