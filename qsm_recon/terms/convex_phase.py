"""How long a nonlinear fidelity leaves the field to the linear one.

A sine cannot tell a residual from one that differs by a turn of phase.  Where D χ is more than half a turn from φ the
nonlinear fidelity pulls away from φ, and beyond a quarter its pull decreases; so it may begin only when the linear one
has brought D χ as near as it can.
"""

from __future__ import annotations

import math

from numpy.typing import NDArray

CONVEX_RAD = 0.5 * math.pi
"""Residual up to which 1 - cos is convex."""
FIRST_LOOKS = (5, 6, 7, 8)
"""Iterations after which residuals are looked at first; then after 10, 12, 14, 16, 20, …, four times an octave."""
SHORTEST = 20
"""Fewest linear iterations, unless no residual is too large before."""
SETTLED = 0.6
"""Share of the excess that is left after twice the iterations, from which on it is taken to stay."""


class ConvexPhase:
    """Watches the residuals of more than a quarter of a turn, and says when the linear iterations may end.

    Parameters
    ----------
    iterations
        How many linear iterations there are; None for as many as it takes: until no residual exceeds a quarter of a
        turn, or what exceeds it, Σ W (|D χ - φ| - π/2), has lost less than two fifths while their number doubled.  What
        stays then are wraps, and voxels that no dipole explains.
    """

    def __init__(self, iterations: int | None) -> None:
        self._wanted = iterations
        self.restart()

    def restart(self) -> None:
        """Begin anew."""
        self._done = 0
        self.going = self._wanted is None or self._wanted > 0
        self._excess: dict[int, float] = {}
        self._blocks: dict[int, float] = {}

    @property
    def watches(self) -> bool:
        """Whether residuals of the iteration in hand are wanted."""
        return self.going and self._wanted is None and _is_looked_at(self._done + 1)

    def add(self, first: int, excess: float) -> None:
        """Note what a block of planes, which begins at ``first``, contributes to the excess."""
        self._blocks[first] = excess

    def finish_iteration(self) -> None:
        """One linear iteration is done."""
        if not self.going:
            return
        looked = self.watches
        self._done += 1
        if self._wanted is not None:
            self.going = self._done < self._wanted
        elif looked:
            self._excess[self._done] = math.fsum(self._blocks[first] for first in sorted(self._blocks))
            self.going = not self._is_settled()

    def _is_settled(self) -> bool:
        now = self._excess[self._done]
        before = [excess for k, excess in self._excess.items() if 2 * k <= self._done]
        return now == 0 or (self._done >= SHORTEST and now >= SETTLED * before[-1])


def _is_looked_at(iteration: int) -> bool:
    octave = max(iteration // FIRST_LOOKS[0], 1).bit_length() - 1
    return iteration % 2**octave == 0 and iteration >> octave in FIRST_LOOKS


def excess(
    predicted: NDArray, measured: NDArray, weight: NDArray, power: int, first: int, nz: int, rad: float = 1.0
) -> float:
    """Σ W (|D χ - φ| - π/2) where that is positive, on a block of planes that begins at ``first``.

    ``weight`` is W to the given power, 1 or 2, and ``rad`` a radian in the unit of the field.
    """
    from qsm_recon.backend.turn_kernels import weighted_excess

    return weighted_excess(predicted, measured, weight, power == 2, first, nz, CONVEX_RAD * rad)
