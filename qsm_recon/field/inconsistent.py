"""Voxels whose echoes are not those of one frequency: found by their misfit, refitted with the first echoes alone.

Where the field changes by much within a voxel, its parts come apart in phase, and the angle of their sum does not grow
evenly with the echo time.  The first echo suffers least.  With the initial phase known from the neighbourhood, it
gives the frequency by itself, and tells aliases apart that all the differences between echoes leave open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SURPRISE, GREAT_SURPRISE = 3e-4, 1e-7
"""How rarely noise alone gives such a misfit: in a voxel beside another one, and in a voxel by itself."""
MOST_INCONSISTENT = 0.25
"""Share of the mask above which it is the model of the signal, or the noise level, that is wrong."""
AGREEMENT = 4.0
"""A further echo agrees where its phase deviates by less than the root of this, in standard deviations."""
REFIT_EXCESS = 3.0
"""Error of a refit over what the noise of its echoes gives (measured on simulated heads: median 2, of 7 where the
misfit is 500 times that of noise)."""
EXCESS_FROM = 16.0
"""Misfit from which that excess grows, as the fourth root."""
LARGEST_LATTICE = 8
SEPARATION = 8.0
"""Standard deviations between the initial phases of two aliases that are told apart."""


@dataclass(frozen=True, eq=False)
class Refit:
    """Frequencies from the first echoes that agree, given the initial phase: (n,) each.

    Attributes
    ----------
    frequency_hz
        Known up to multiples of ``1 / t1`` where one echo was used.
    error_hz
        Standard deviation, that which dephasing adds included.
    echoes
        How many echoes were used.
    """

    frequency_hz: NDArray[np.float64]
    error_hz: NDArray[np.float64]
    echoes: NDArray[np.intp]


def misfit_over_noise(misfit: NDArray[np.float64], sigma: float, freedom: int) -> NDArray[np.float64]:
    """Misfit per degree of freedom over that of the noise: about 1 where the model of the signal holds."""
    return misfit / (freedom * sigma**2)


def surprising(excess: NDArray[np.float64], freedom: int, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a misfit is larger than noise explains: in one voxel by itself, or by less in several together.

    Parameters
    ----------
    excess
        (n,) misfit over that of noise, of the voxels of the mask.
    freedom
        Degrees of freedom that the fit left.
    mask
        (nx, ny, nz).
    """
    from scipy import special

    # Of the chi-squared distribution; scipy.stats says the same, but takes longer to import than all of this to run.
    limits = [2.0 * float(special.gammainccinv(0.5 * freedom, share)) for share in (SURPRISE, GREAT_SURPRISE)]
    limit, great_limit = (value / freedom for value in limits)
    found = np.flatnonzero(excess > limit)
    places = np.flatnonzero(mask)[found]
    count = np.zeros(mask.shape, np.uint8)
    count.ravel()[places] = 1
    for axis in range(3):  # of the voxel and its 26 neighbours
        along = np.moveaxis(count, axis, 0)
        once = along.copy()
        along[1:] += once[:-1]
        along[:-1] += once[1:]
    surprise = excess > great_limit
    surprise[found] |= count.ravel()[places] > 1
    return surprise


def error_of_fit(noise_hz: NDArray[np.float64], excess: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of a fit to all echoes where they disagree: it grows with the misfit (measured)."""
    return noise_hz * np.maximum(excess, 1.0)


def alias_lattice(first_over_spacing: float, deviation_rad: float) -> int:
    """How many neighbouring aliases the initial phase tells apart.

    One period of frequency more turns the initial phase by 2π times the first echo time over the echo spacing.

    Parameters
    ----------
    first_over_spacing
        First echo time over echo spacing.
    deviation_rad
        How well the initial phase is known.
    """
    lattice = 1
    while lattice < LARGEST_LATTICE and smallest_gap(lattice + 1, first_over_spacing) >= SEPARATION * deviation_rad:
        lattice += 1
    return lattice


def smallest_gap(lattice: int, first_over_spacing: float) -> float:
    """Smallest difference (rad) between the initial phases of neighbouring aliases; see :func:`alias_lattice`."""
    turned = np.sort(np.arange(lattice) * first_over_spacing % 1.0)
    return 2 * np.pi * float(np.diff(np.append(turned, turned[0] + 1.0)).min())


def alias_of_initial_phase(
    strayed_rad: NDArray[np.float64], first_over_spacing: float, lattice: int
) -> NDArray[np.intp]:
    """Periods to add so that the initial phase comes nearest to that of the neighbourhood.

    Parameters
    ----------
    strayed_rad
        (n,) initial phase less that of the neighbourhood.
    first_over_spacing, lattice
        See :func:`alias_lattice`.
    """
    periods = np.arange(lattice) - lattice // 2
    best, nearest = np.zeros(strayed_rad.shape, np.intp), np.full(strayed_rad.shape, np.inf)
    for period in periods:
        turned = strayed_rad - 2 * np.pi * first_over_spacing * period
        distance = np.abs(turned - 2 * np.pi * np.rint(turned / (2 * np.pi))) + 1e-6 * abs(period)  # of equals, none
        better = distance < nearest
        np.copyto(best, period, where=better)
        np.copyto(nearest, distance, where=better)
    return best


def refit_first_echoes(
    phase_rad: NDArray[np.floating],
    magnitude: NDArray[np.floating],
    echo_times: NDArray[np.float64],
    *,
    sigma: float,
    deviation_rad: float,
    excess: NDArray[np.float64],
    branches: int,
) -> Refit:
    """Fit a frequency to as many of the first echoes as agree.

    Parameters
    ----------
    phase_rad
        (n, echoes) phase less the initial phase of the neighbourhood.
    magnitude
        (n, echoes).
    echo_times
        (echoes,) in s.
    sigma
        Noise of the real and imaginary channel.
    deviation_rad
        How well the initial phase is known.
    excess
        (n,) misfit over noise of the fit to all echoes.
    branches
        Aliases of the first echo to try: the one that most echoes agree with counts.
    """
    best: tuple[NDArray, ...] | None = None
    for branch in sorted(range(-(branches // 2), (branches + 1) // 2), key=abs):
        found = _grow(phase_rad, magnitude, echo_times, sigma, deviation_rad, branch)
        if best is None:
            best = found
            continue
        better = (found[2] > best[2]) | ((found[2] == best[2]) & (found[3] < best[3]))
        best = tuple(np.where(better, new, old) for new, old in zip(found, best, strict=True))
    if best is None:
        raise ValueError(f"branches: expected at least 1, found {branches}")
    frequency, error, echoes, _ = best
    error = REFIT_EXCESS * error * np.maximum(excess / EXCESS_FROM, 1.0) ** 0.25
    return Refit(frequency, error, echoes)


def _grow(
    phase: NDArray, magnitude: NDArray, times: NDArray, sigma: float, deviation: float, branch: int
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Frequency, its error, number of echoes and their misfit, taking in one echo after the other while they agree."""
    phase = phase.astype(np.float64)
    noise = sigma / np.maximum(magnitude.astype(np.float64), 1e-3 * sigma)
    precision = 1.0 / (noise**2 + deviation**2)
    first = np.angle(np.exp(1j * phase[:, 0])) + 2 * np.pi * branch
    curvature, slope = precision[:, 0] * times[0] ** 2, precision[:, 0] * times[0] * first
    omega = slope / curvature
    agreeing = np.ones(len(phase), dtype=bool)
    echoes, misfit = np.ones(len(phase), dtype=np.intp), np.zeros(len(phase))
    for j in range(1, times.size):
        residual = np.angle(np.exp(1j * (phase[:, j] - omega * times[j])))
        surprise = residual**2 / (1.0 / precision[:, j] + times[j] ** 2 / curvature)
        agreeing &= surprise < AGREEMENT
        misfit += np.where(agreeing, surprise, 0.0)
        slope += np.where(agreeing, precision[:, j] * times[j] * (omega * times[j] + residual), 0.0)
        curvature += np.where(agreeing, precision[:, j] * times[j] ** 2, 0.0)
        omega = slope / curvature
        echoes += agreeing
    return omega / (2 * np.pi), 1.0 / (2 * np.pi * np.sqrt(curvature)), echoes, misfit
