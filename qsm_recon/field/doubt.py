"""Voxels whose frequency is in doubt: found, refitted, put on the right alias, and given the weight they deserve."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.field.inconsistent import (
    MOST_INCONSISTENT,
    SEPARATION,
    alias_lattice,
    alias_of_initial_phase,
    error_of_fit,
    misfit_over_noise,
    refit_first_echoes,
    smallest_gap,
    surprising,
)
from qsm_recon.field.initial_phase import SmoothPhase, typical_deviation
from qsm_recon.field.noise import NoiseLevel
from qsm_recon.field.strong_sources import DOUBT, FieldInDoubt, settle_by_dipoles
from qsm_recon.field.unwrap import SMALLEST_REGION, rejoin
from qsm_recon.field.voxels import VoxelList, box_around, wrapped
from qsm_recon.operators.grid import Grid

HARMLESS = 0.05
"""Error, in periods, up to which a voxel keeps its weight (0.3 rad of the phase that the ambiguity belongs to)."""
UNKNOWN_PHASE_RAD = 0.5
"""Deviation from a smooth map above which an initial phase tells nothing."""


@dataclass(eq=False)
class Fitted:
    """What the fit to all echoes left, per voxel of the list; changed in place.

    Attributes
    ----------
    frequency_hz, noise_hz, misfit
        (n,) of the fit; the frequency already unwrapped in space.
    intercept_rad
        (n, groups) initial phase of each readout direction.
    determined
        (n,) voxels that have a frequency.
    group
        (echoes,) readout direction of each echo.
    period_hz
        Its ambiguity.
    level
        Noise of the signal.
    even
        Whether aliases fit the echoes equally well, as with evenly spaced ones.
    """

    frequency_hz: NDArray[np.float64]
    noise_hz: NDArray[np.float64]
    misfit: NDArray[np.float64]
    intercept_rad: NDArray[np.float64]
    determined: NDArray[np.bool_]
    group: NDArray[np.intp]
    period_hz: float
    level: NoiseLevel
    even: bool

    @property
    def freedom(self) -> int:
        """Phases that the fit left over, per voxel."""
        return self.group.size - 1 - self.intercept_rad.shape[1]


@dataclass(frozen=True, eq=False)
class Settlement:
    """Which voxels were in doubt, and what became of them.

    Attributes
    ----------
    reliability
        (n,) factor on the weight of each voxel, in (0, 1].
    report
        Counts, for the log and the record.
    """

    reliability: NDArray[np.float64]
    report: dict[str, Any] = field(default_factory=dict)


def settle(voxels: VoxelList, fitted: Fitted, grid: Grid | None) -> Settlement:
    """Find the voxels whose frequency is in doubt and do what can be done.

    1. Where the echoes disagree by more than noise explains, as many of the first ones as agree are fitted again, with
       the initial phase of the neighbourhood (:mod:`qsm_recon.field.inconsistent`).
    2. Where the initial phase tells aliases apart, the one that agrees with the neighbourhood is taken.
    3. All these, and both ends of steps that are too large to say which way they go, are attached anew along the best
       path, each with its own ambiguity.
    4. Where such steps remain, a dipole model of what is around decides (:mod:`qsm_recon.field.strong_sources`).

    Parameters
    ----------
    voxels
        The signals.
    fitted
        What the fit left; its frequency and intercept are replaced.
    grid
        Geometry; without it step 4 is left out.

    Returns
    -------
    Settlement
        Weights and counts.
    """
    image, report = _image_of(voxels, fitted)
    if image.loose.any():
        _attach(image, fitted.period_hz)
    unsettled = image.open_steps()
    modelled = 0
    if grid is not None and unsettled.any():
        within = settle_by_dipoles(image, unsettled, grid)
        modelled = int(np.count_nonzero(unsettled & within))
        unsettled &= ~within
    image.error_hz[unsettled] = np.maximum(image.error_hz[unsettled], 0.5 * image.period_hz[unsettled])
    image.loose |= unsettled
    doubtful = image.error_hz[image.loose] > DOUBT * image.period_hz[image.loose]
    reliability = _take_over(voxels, fitted, image)
    report |= {
        "voxels_at_open_steps_modelled": modelled,
        "voxels_at_open_steps_left": int(np.count_nonzero(unsettled)),
        "voxels_in_doubt": int(np.count_nonzero(doubtful)),
        "smallest_reliability": float(reliability.min(initial=1.0)),
    }
    return Settlement(reliability, report)


def _image_of(voxels: VoxelList, fitted: Fitted) -> tuple[FieldInDoubt, dict[str, Any]]:
    """The map, with inconsistent voxels refitted and, where the initial phase tells, on the right alias."""
    # As single precision holds them, unless the initial phase says more.
    found = _Listed(
        fitted.frequency_hz.astype(np.float32),
        fitted.noise_hz.astype(np.float32),
        np.full(voxels.count, fitted.period_hz),
        np.zeros(voxels.count, dtype=bool),
    )
    report: dict[str, Any] = {"inconsistent_voxels": 0}
    if fitted.freedom >= 1 and fitted.level.origin != "assumed":
        excess = misfit_over_noise(fitted.misfit, fitted.level.sigma, fitted.freedom)
        odd = fitted.determined & surprising(excess, fitted.freedom, voxels.mask)
        report["inconsistent_voxels"] = int(np.count_nonzero(odd))
        if odd.mean() <= MOST_INCONSISTENT:
            found, more = _use_initial_phase(voxels, fitted, excess, odd)
            report |= more
    image = FieldInDoubt(
        voxels.image_of(found.frequency_hz, 0.0),
        voxels.image_of(found.error_hz, 0.0),
        voxels.image_of(found.period_hz, fitted.period_hz),
        voxels.restricted(found.loose),
        voxels.restricted(fitted.determined),
    )
    image.loose |= image.open_steps()
    _free_islands(image)
    return image, report


@dataclass(frozen=True, eq=False)
class _Listed:
    """What goes into a :class:`FieldInDoubt`, per voxel of the list."""

    frequency_hz: NDArray[np.floating]
    error_hz: NDArray[np.floating]
    period_hz: NDArray[np.float64]
    loose: NDArray[np.bool_]


def _use_initial_phase(
    voxels: VoxelList, fitted: Fitted, excess: NDArray[np.float64], odd: NDArray[np.bool_]
) -> tuple[_Listed, dict[str, Any]]:
    """Refit odd voxels and choose aliases, with the initial phase of the neighbourhood; also returns what was found."""
    frequency, error = fitted.frequency_hz.copy(), fitted.noise_hz.copy()
    period, loose = np.full(voxels.count, fitted.period_hz), odd.copy()
    error[odd] = error_of_fit(error[odd], excess[odd])
    trusted = fitted.determined & ~odd
    report: dict[str, Any] = {}
    if trusted.any():
        power = np.square(voxels.magnitude[:, 0], dtype=np.float64)
        smooth = [
            SmoothPhase.fit(intercept, power, trusted, voxels.index, voxels.shape)
            for intercept in np.ascontiguousarray(fitted.intercept_rad.T)
        ]
        strayed = [
            wrapped(intercept - phase.at(voxels.index))
            for intercept, phase in zip(fitted.intercept_rad.T, smooth, strict=True)
        ]
        deviation = max(typical_deviation(part[trusted].astype(np.float32)) for part in strayed)
        report["initial_phase_deviation_rad"] = deviation
        if deviation < UNKNOWN_PHASE_RAD:
            ratio = float(voxels.echo_times[0]) * fitted.period_hz
            lattice = alias_lattice(ratio, deviation) if fitted.even else 1
            moved_voxels = 0
            if lattice > 1:
                told = trusted & _told_apart(voxels, fitted, deviation, smallest_gap(lattice, ratio))
                moved = np.where(told, alias_of_initial_phase(strayed[0], ratio, lattice), 0)
                period[told] *= lattice
                frequency += moved * fitted.period_hz
                loose |= moved != 0
                moved_voxels = int(np.count_nonzero(moved))
            report |= {"aliases_told_apart": lattice, "moved_by_initial_phase": moved_voxels}
            which = np.flatnonzero(odd)
            expected = np.stack([phase.at(voxels.index[which]) for phase in smooth], axis=1)[:, fitted.group]
            refit = refit_first_echoes(
                voxels.phase[which] - expected,
                voxels.magnitude[which],
                voxels.echo_times,
                sigma=fitted.level.sigma,
                deviation_rad=deviation,
                excess=excess[which],
                branches=max(1, math.ceil(ratio - 0.1)),
            )
            better = refit.error_hz < error[which]
            which = which[better]
            frequency[which], error[which] = refit.frequency_hz[better], refit.error_hz[better]
            alone = refit.echoes[better] == 1
            first = 1.0 / voxels.echo_times[0]
            period[which] = np.where(alone, first, max(first, fitted.period_hz))
            report["refitted_voxels"] = int(which.size)
    return _Listed(frequency, error, period, loose), report


def _told_apart(voxels: VoxelList, fitted: Fitted, deviation_rad: float, gap_rad: float) -> NDArray[np.bool_]:
    """Voxels whose initial phase is known well enough to tell aliases that far apart."""
    from qsm_recon.backend.kernels.initial_phase import initial_phase_variance
    from qsm_recon.backend.threads import parallel_slabs

    variance = np.empty(voxels.count)
    signal = voxels.magnitude, voxels.echo_times, fitted.noise_hz
    parallel_slabs(initial_phase_variance, voxels.count, *signal, fitted.level.sigma, variance)
    return np.sqrt(variance + deviation_rad**2) * SEPARATION <= gap_rad


def _free_islands(image: FieldInDoubt) -> None:
    """Regions of settled voxels that loose ones cut off from the rest are loose as well."""
    from scipy import ndimage

    if not image.loose.any():
        return
    box = box_around(image.mask)
    labels, _ = ndimage.label(image.mask[box] & ~image.loose[box])
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    small = (sizes > 0) & (sizes <= SMALLEST_REGION * sizes.max())
    if small.any():
        image.loose[box] |= small[labels]


def _attach(image: FieldInDoubt, period_hz: float) -> None:
    """Attach the loose voxels to the settled ones around them."""
    box = box_around(image.loose, 2)  # nothing further away has a say
    turns = rejoin(
        image.frequency_hz[box] / period_hz,
        image.mask[box],
        image.loose[box],
        image.period_hz[box] / period_hz,
        image.error_hz[box] / period_hz,
    )
    image.frequency_hz[box] += turns * period_hz


def _take_over(voxels: VoxelList, fitted: Fitted, image: FieldInDoubt) -> NDArray[np.float64]:
    """Put loose voxels back into the list with the best initial phase for them; returns the factor on all weights."""
    from qsm_recon.backend.kernels.signal import intercept_and_misfit

    loose = np.flatnonzero(image.loose.ravel()[voxels.index])
    where = np.unravel_index(voxels.index[loose], voxels.mask.shape)
    frequency = image.frequency_hz[where]
    fitted.frequency_hz[loose] = frequency
    for g in range(fitted.intercept_rad.shape[1]):
        echoes = np.flatnonzero(fitted.group == g)
        signal = (voxels.magnitude[loose][:, echoes], voxels.phase[loose][:, echoes], voxels.echo_times[echoes])
        intercept, misfit = np.empty((loose.size, 1)), np.empty(loose.size)
        intercept_and_misfit(0, loose.size, *signal, frequency, intercept, misfit)
        fitted.intercept_rad[loose, g] = intercept[:, 0]
    reliability = np.ones(voxels.count)
    relative = image.error_hz[where] / image.period_hz[where]
    reliability[loose] = np.minimum(1.0, HARMLESS / np.maximum(relative, 1e-12))
    return reliability
