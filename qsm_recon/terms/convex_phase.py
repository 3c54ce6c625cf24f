"""By how much residuals exceed what a nonlinear fidelity can tell from wraps.

A sine cannot tell a residual from one that differs by a turn of phase.  Where D χ is more than half a turn from φ the
nonlinear fidelity pulls away from φ, and beyond a quarter its pull decreases; so it may begin only when the linear one
has brought D χ as near as it can.
"""

from __future__ import annotations

import math

from numpy.typing import NDArray

CONVEX_RAD = 0.5 * math.pi
"""Residual up to which 1 - cos is convex."""


def excess(
    predicted: NDArray, measured: NDArray, weight: NDArray, power: int, first: int, nz: int, rad: float = 1.0
) -> float:
    """Σ W (|D χ - φ| - π/2) where that is positive, on a block of planes that begins at ``first``.

    ``weight`` is W to the given power, 1 or 2, and ``rad`` a radian in the unit of the field.
    """
    from qsm_recon.backend.kernels.turn import weighted_excess

    return weighted_excess(predicted, measured, weight, power == 2, first, nz, CONVEX_RAD * rad)
