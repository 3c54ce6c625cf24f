"""Order several reconstructions of the same case as the challenge's report did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qsm_recon.metrics.scores import OFFICIAL_METRICS, Scores

TOP = 5


@dataclass(frozen=True)
class Standing:
    """The place of one reconstruction among several.

    Parameters
    ----------
    index
        Its position in the sequence that was ranked.
    place
        1 for the best; equals share a place.
    top_five_appearances
        See :func:`top_five_appearances`.
    """

    index: int
    place: int
    top_five_appearances: int


def top_five_appearances(scores: Sequence[Scores]) -> list[int]:
    """Count in how many of the official eight metrics each reconstruction is among the five best.

    A reconstruction is among the five best in a metric if fewer than five others are strictly better, so equals on
    the fifth place all count; one without a value in a metric is not among them.  The challenge's own count also
    took its visual ratings, which no code can compute.

    References
    ----------
    Bilgic B, Langkammer C, Marques JP, et al. QSM reconstruction challenge 2.0: design and report of results.
    Magn Reson Med 2021;86:1241-1255. doi:10.1002/mrm.28754
    """
    counts = [0] * len(scores)
    for name in OFFICIAL_METRICS:
        values = [_value(score, name) for score in scores]
        for index, value in enumerate(values):
            counts[index] += math.isfinite(value) and sum(other < value for other in values) < TOP
    return counts


def rank(scores: Sequence[Scores]) -> list[Standing]:
    """Rank by top-five appearances, the more the better, and among equals by NRMSE."""
    counts = top_five_appearances(scores)
    keys = [(-count, _value(score, "nrmse")) for count, score in zip(counts, scores, strict=True)]
    order = sorted(range(len(scores)), key=keys.__getitem__)
    return [Standing(index, 1 + sum(key < keys[index] for key in keys), counts[index]) for index in order]


def _value(scores: Scores, name: str) -> float:
    """Return the metric, or infinity where it could not be computed."""
    value = scores.values.get(name)
    return math.inf if value is None else value
