"""Unblinding: what raters saved, put together with the key."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.rating.pages import CATEGORIES, FORMAT, SCALE
from qsm_recon.errors import DataError
from qsm_recon.io import read_json
from qsm_recon.metrics.scores import HIGHER_IS_BETTER

OVERALL = "overall"
"""Mean over the categories."""
LEAST_FOR_CORRELATION = 3


@dataclass(frozen=True)
class Ratings:
    """What all raters say.

    Parameters
    ----------
    raters
        Their names.
    maps
        Files of the maps.
    scores
        For each category (raters, maps), NaN where not rated.
    metrics
        For each map its scores against the truth; empty without one.
    """

    raters: list[str]
    maps: list[str]
    scores: dict[str, NDArray[np.floating]]
    metrics: list[dict[str, float | None]]


def read_ratings(files: Sequence[Path], keys: Sequence[Path]) -> Ratings:
    """Read and unblind the files of raters.

    Parameters
    ----------
    files
        As the page saved them, one per rater.
    keys
        The keys of the pages they rated; pages of the same maps may have different seeds.

    Raises
    ------
    DataError
        If a file is unreadable, belongs to none of the keys, or says something impossible, a rater is there twice,
        or the keys are of different maps.
    """
    known = [_read_key(path) for path in keys]
    first = known[0]["submissions"].values()
    maps = sorted(item["file"] for item in first)
    for path, key in zip(keys, known, strict=True):
        if {_identity(item) for item in key["submissions"].values()} != {_identity(item) for item in first}:
            raise DataError(f"{path}: of other maps than {keys[0]}; collect them apart")
    by_page = {key["page"]: key["submissions"] for key in known}
    raters: list[str] = []
    scores = {category: np.full((len(files), len(maps)), np.nan) for category in CATEGORIES}
    for row, path in enumerate(files):
        content = read_json(path)
        given = content.get("rater")
        rater = " ".join(given.split()) if isinstance(given, str) else ""  # one line, and 'A ' is A
        if content.get("format") != FORMAT or not rater or not isinstance(content.get("ratings"), dict):
            raise DataError(f"{path}: not a file of ratings saved by the page")
        if not isinstance(content.get("page"), str) or content["page"] not in by_page:
            raise DataError(
                f"{path}: ratings of page {content.get('page')}, and the key is of {', '.join(by_page)}; give the key "
                "of that page (--key)"
            )
        if rater in raters:
            raise DataError(
                f"{path}: a second file of rater '{rater}' ({files[raters.index(rater)]}); give one of them"
            )
        raters.append(rater)
        submissions = by_page[content["page"]]
        for category, values in content["ratings"].items():
            for name, score in _checked(path, category, values, submissions):
                scores[category][row, maps.index(submissions[name]["file"])] = score
    metrics = {item["file"]: item.get("metrics") or {} for item in first}
    return Ratings(raters, maps, scores, [metrics[name] for name in maps])


def summarise(ratings: Ratings) -> dict[str, Any]:
    """Means, agreement between raters, and correlation of mean ratings with metrics.

    Returns
    -------
    dict
        ``raters``; ``left_out``, how many ratings each did not give; ``maps``, best first, each with mean, standard
        deviation over raters and number of ratings by category; ``agreement``, Krippendorff's α (ordinal) by category,
        None where it is not defined; ``correlation``, Spearman's ρ of mean rating and error by category and metric, so
        that a positive number says that raters and metric agree.
    """
    means = {category: _means(values) for category, values in ratings.scores.items()}
    means[OVERALL] = np.mean([means[category] for category in CATEGORIES], axis=0)  # NaN where a category is missing
    order = np.argsort(np.where(np.isnan(means[OVERALL]), np.inf, means[OVERALL]), kind="stable")
    maps = []
    for index in order:
        entry: dict[str, Any] = {"file": ratings.maps[index], OVERALL: _number(means[OVERALL][index])}
        for category, values in ratings.scores.items():
            given = values[~np.isnan(values[:, index]), index]
            entry[category] = {
                "mean": _number(means[category][index]),
                "standard_deviation": float(given.std(ddof=1)) if len(given) > 1 else None,
                "ratings": len(given),
            }
        maps.append({**entry, "metrics": ratings.metrics[index]})
    return {
        "raters": ratings.raters,
        "left_out": {name: _left_out(ratings, row) for row, name in enumerate(ratings.raters)},
        "maps": maps,
        "agreement": {category: agreement(values) for category, values in ratings.scores.items()},
        "correlation": {category: _correlations(values, ratings.metrics) for category, values in means.items()},
    }


def agreement(scores: NDArray[np.floating]) -> float | None:
    """Krippendorff's α for ordinal data: 1 perfect, 0 as by chance; None where it is not defined.

    Parameters
    ----------
    scores
        (raters, maps), NaN where not rated.

    References
    ----------
    Krippendorff K. Content analysis: an introduction to its methodology. 4th ed. Sage; 2018. Chapter 12.
    """
    import krippendorff

    pairs = np.sum(~np.isnan(scores), axis=0) > 1
    if not pairs.any() or len(np.unique(scores[:, pairs][~np.isnan(scores[:, pairs])])) < 2:
        return None  # nothing was rated twice, or all of it alike, so that chance cannot be told from agreement
    return float(krippendorff.alpha(reliability_data=scores, level_of_measurement="ordinal"))


def table(summary: dict[str, Any]) -> str:
    """Text of a summary: maps best first, then agreement, then correlations."""
    columns = [*CATEGORIES, OVERALL]
    raters = summary["raters"]
    lines = [
        f"{len(raters)} rater(s): {', '.join(raters)}; mean rating, 0 {SCALE[0]} to {len(SCALE) - 1} {SCALE[-1]}",
        *(f"note: {name} left {count} ratings out" for name, count in summary["left_out"].items() if count),
        "".join(f"{name:>15}" for name in columns) + "  map",
    ]
    for entry in summary["maps"]:
        cells = [_cell(entry[category]["mean"], entry[category]["standard_deviation"]) for category in CATEGORIES]
        lines.append("".join(f"{cell:>15}" for cell in [*cells, _cell(entry[OVERALL], None)]) + f"  {entry['file']}")
    alphas = [_cell(summary["agreement"][category], None) for category in CATEGORIES]
    lines += ["", "agreement between raters, Krippendorff's α (ordinal); 1: perfect, 0: as by chance"]
    lines += ["".join(f"{name:>15}" for name in CATEGORIES), "".join(f"{cell:>15}" for cell in alphas)]
    metrics = list(dict.fromkeys(name for found in summary["correlation"].values() for name in found))
    if metrics:
        lines += ["", "Spearman's ρ of mean rating and error; positive: the metric agrees with the raters"]
        lines.append("".join(f"{name:>15}" for name in columns) + "  metric")
        for name in metrics:
            cells = [_cell(summary["correlation"][category].get(name), None) for category in columns]
            lines.append("".join(f"{cell:>15}" for cell in cells) + f"  {name}")
    return "\n".join(lines)


def _read_key(path: Path) -> dict[str, Any]:
    key = read_json(path)
    submissions = key.get("submissions")
    if key.get("format") != FORMAT or not isinstance(submissions, dict) or not submissions:
        raise DataError(f"{path}: not the key of a rating page")
    if not isinstance(key.get("page"), str):
        raise DataError(f"{path}: not the key of a rating page; it does not say of which page")
    for name, item in submissions.items():
        if not isinstance(item, dict) or not all(isinstance(item.get(part), str) for part in ("file", "sha256")):
            raise DataError(f"{path}: not the key of a rating page; its '{name}' lacks file or sha256")
        metrics = item.get("metrics") or {}
        if not isinstance(metrics, dict) or not all(_is_metric(value) for value in metrics.values()):
            raise DataError(f"{path}: the metrics of '{name}' are no numbers by name; give the key as it was written")
    if len({item["file"] for item in submissions.values()}) < len(submissions):
        raise DataError(f"{path}: names one file for two maps; give the key as it was written")
    return key


def _is_metric(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _identity(submission: dict[str, Any]) -> tuple[str, str]:
    return submission["file"], submission["sha256"]


def _checked(path: Path, category: str, values: Any, submissions: dict[str, Any]) -> Iterable[tuple[str, int]]:
    """Ratings of one category, each a known map and a possible score."""
    if category not in CATEGORIES or not isinstance(values, dict):
        raise DataError(f"{path}: '{category}' is no category; expected {', '.join(CATEGORIES)}")
    for name, score in values.items():
        if name not in submissions:
            raise DataError(f"{path}: '{name}' is no map of this page")
        if isinstance(score, bool) or not isinstance(score, int) or not 0 <= score < len(SCALE):
            raise DataError(f"{path}: {category} of '{name}' is {score!r}; expected 0 to {len(SCALE) - 1}")
        yield name, score


def _means(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Mean over raters; NaN where nobody rated."""
    count = np.sum(~np.isnan(scores), axis=0)
    return np.where(count > 0, np.nansum(scores, axis=0) / np.maximum(count, 1), np.nan)


def _left_out(ratings: Ratings, row: int) -> int:
    return int(sum(np.isnan(values[row]).sum() for values in ratings.scores.values()))


def _correlations(means: NDArray[np.floating], metrics: list[dict[str, float | None]]) -> dict[str, float | None]:
    """Rank correlation with each metric, turned so that more is worse; None where it is not defined."""
    from scipy.stats import spearmanr

    names = list(dict.fromkeys(name for values in metrics for name in values))
    found: dict[str, float | None] = {}
    for name in names:
        values = np.array([np.nan if (value := item.get(name)) is None else value for item in metrics], dtype=float)
        values = -values if name in HIGHER_IS_BETTER else values
        both = ~np.isnan(means) & ~np.isnan(values)
        defined = both.sum() >= LEAST_FOR_CORRELATION and np.ptp(means[both]) > 0 and np.ptp(values[both]) > 0
        found[name] = float(spearmanr(means[both], values[both]).statistic) if defined else None
    return found


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _cell(value: float | None, spread: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if spread is None else f"{value:.2f} ± {spread:.2f}"
