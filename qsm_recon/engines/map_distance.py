"""How far a map is from the one that its iteration will end at, estimated from maps on the way.

Splitting methods approach their limit about geometrically: what lies between the map at half the iterations and the map
now is the distance that was left at half of them, and with each halving of the iterations the remaining share of the
whole way is squared.  A map that has moved by h since, on a way of length w, is about  w (h / w)²  from the end.  Ways
bend, and end more slowly than they begin; the numbers below were decided on measured ways, docs/variational.md says on
which, and ``python -m benchmarks.speed --baseline`` prints what is told beside what is true.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.arrays import beside, square_sum

POWER, FACTOR = 1.75, 3.0
"""Of the remaining share of the way."""
SLOWEST = 0.5
"""Share of what the second half of the iterations brought that is taken to be left at least."""
FIRST = 20
"""Iterations before anything is said."""
SAMPLE = 1 << 16
"""Voxels that are looked at, evenly spread over the mask."""
STEPS_KEPT = 32
"""Of each doubling of the iterations, maps kept."""


def distance_left(moved: float, way: float) -> float:
    """Estimated distance of a map from its limit.

    Parameters
    ----------
    moved
        How far it came since half of the iterations.
    way
        How far it came since the start, in the same unit.
    """
    way = max(way, moved)
    if way == 0:
        return 0.0
    return max(FACTOR * way * (moved / way) ** POWER, SLOWEST * moved)


class MapDistance:
    """Watches a map on its way and estimates how much of it is left, relative to the map's norm, inside the mask.

    Parameters
    ----------
    mask
        (nx, ny, nz) voxels that count; all of the image where None.
    negligible
        Root mean square of a map that counts as nothing; distances are relative to it at least.
    sample
        The most voxels that are looked at.
    """

    def __init__(self, mask: NDArray[np.bool_] | None = None, negligible: float = 0.0, sample: int = SAMPLE) -> None:
        self._mask = mask
        self._negligible = negligible
        self._sample = sample
        self._indices: NDArray[np.intp] | None = None
        self._begun = 0
        self._kept: dict[int, NDArray] = {}
        self._start: NDArray | None = None

    def begin(self, image: NDArray, iteration: int = 0) -> None:
        """Start a way at an image (padded buffer) that is reached after a number of iterations; forgets any other."""
        self._begun = iteration
        self._start = self._look(image)
        self._kept = {0: self._start}

    def observe(self, image: NDArray, iteration: int, last: float = math.inf) -> float:
        """Return the estimate after an iteration: infinite before :data:`FIRST`, the last one where this is skipped."""
        assert self._start is not None
        done = iteration - self._begun
        if done % max(1, done // STEPS_KEPT):
            return last
        now = self._look(image)
        half = max(step for step in self._kept if 2 * step <= done)
        before = self._kept[half]
        self._kept = {step: kept for step, kept in self._kept.items() if step >= half}
        self._kept[done] = now
        norm = max(_norm(now), self._negligible * math.sqrt(len(now)))
        if done < FIRST:
            return math.inf
        if norm == 0:
            return 0.0 if _norm(before) == 0 else math.inf
        return distance_left(_norm(now - before), _norm(now - self._start)) / norm

    def _look(self, image: NDArray) -> NDArray:
        if self._indices is None:
            self._indices = beside(self._places(image.shape), image)
        return image.reshape(-1)[self._indices]

    def _places(self, shape: tuple[int, ...]) -> NDArray[np.intp]:
        mask = np.ones(shape, bool) if self._mask is None else self._mask
        places = np.flatnonzero(mask)
        some = places[:: max(1, len(places) // self._sample)]
        return np.ravel_multi_index(np.unravel_index(some, mask.shape), shape)


def _norm(values: NDArray) -> float:
    return math.sqrt(square_sum(values))
