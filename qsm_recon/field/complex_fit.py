"""Frequency from all echoes at once: the nonlinear fit of the complex signal, voxel by voxel."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import DataError
from qsm_recon.field.doubt import Fitted, settle
from qsm_recon.field.echoes import EchoSeries
from qsm_recon.field.noise import NoiseLevel, noise_level
from qsm_recon.field.unwrap import Unwrapping, unwrap_in_space
from qsm_recon.field.voxels import VoxelList, wrapped
from qsm_recon.operators.grid import Grid

logger = logging.getLogger(__name__)

TOLERANCE_RAD = 1e-6
MAX_ITERATIONS = 100
GRID_OVERSAMPLING = 4
EVEN_SPACING = 1e-2
"""Echo spacings that differ by less than this fraction (rounding in headers) count as equal."""


@dataclass(frozen=True, eq=False)
class FrequencyFit:
    """What a frequency estimate yields, per voxel; all maps are (nx, ny, nz) and 0 outside ``mask``.

    Attributes
    ----------
    frequency_hz
        Unwrapped frequency, Hz.
    initial_phase_rad
        Phase at echo time 0, rad, in [-pi, pi].
    noise_hz
        Standard deviation of the frequency, Hz.
    residual
        Relative residual ``sqrt(sum |S - model|^2 / sum |S|^2)``, 0 (perfect) to 2.
    mask
        The voxels of the given mask whose signal determines a frequency.
    bipolar_phase_rad
        Half the phase between odd and even echoes, rad, or None.
    reliability
        Factor on a voxel's weight, in [0, 1]: below 1 where its frequency is in doubt for another reason than noise.
    report
        What was found, for the log and the side-car file.
    """

    frequency_hz: NDArray[np.float32]
    initial_phase_rad: NDArray[np.float32]
    noise_hz: NDArray[np.float32]
    residual: NDArray[np.float32]
    mask: NDArray[np.bool_]
    bipolar_phase_rad: NDArray[np.float32] | None = None
    reliability: NDArray[np.float32] | None = None
    report: dict[str, Any] = field(default_factory=dict)


def fit_complex_echoes(
    echoes: EchoSeries,
    mask: NDArray[np.bool_],
    *,
    bipolar: bool = False,
    noise_sigma: float | None = None,
    grid: Grid | None = None,
) -> FrequencyFit:
    r"""Fit frequency and initial phase of every voxel to the complex echoes.

    Minimises :math:`\sum_j \big|S_j - |S_j| e^{i(\varphi_0 + 2\pi f t_j)}\big|^2` over :math:`f` and
    :math:`\varphi_0`, which weights each echo by its squared magnitude and needs no phase unwrapping in time: the
    best alias near the start counts.  The start is the magnitude-weighted mean phase difference of neighbouring
    echoes, followed by a search over one whole period, then by reweighted regression of the residual phase, which
    never increases the cost.

    Parameters
    ----------
    echoes
        The series.  With a single echo the frequency is its spatially unwrapped phase over ``2 pi TE``; an initial
        phase cannot be told apart and is taken to be 0.
    mask
        (nx, ny, nz) bool, where to estimate.
    bipolar
        Odd and even echoes were read in opposite directions: fit a phase +b to odd (first, third, ...) and -b to
        even echoes too.  Needs three echoes.
    noise_sigma
        Standard deviation of the noise of the real and imaginary channel, in units of the magnitude.  By default
        it is estimated from the residuals (see :class:`~qsm_recon.field.noise.NoiseLevel`).
    grid
        Geometry of the images.  With it, aliases around strong sources that no path settles are settled by what
        dipoles can explain.

    Returns
    -------
    FrequencyFit
        Maps and a report.  The noise map is the standard deviation that linear error propagation gives,
        ``sigma / (2 pi sqrt(sum w (t - mean t)^2))`` with ``w = |S|^2`` and the w-weighted mean (per readout
        direction if bipolar); it is exact for a signal well above the noise.

    Raises
    ------
    DataError
        If the mask does not fit or is empty, or there are too few echoes for the bipolar term.

    Notes
    -----
    Neighbouring echoes dt apart leave f uncertain by multiples of 1/dt (by 1/(2 dt) with the bipolar term), which
    :func:`~qsm_recon.field.unwrap.unwrap_in_space` settles where the map is not continuous.  Beside strong sources the
    field jumps by more than half of that between neighbours (at 7 T and dt = 8 ms by more than 0.21 ppm), and its
    change within a voxel bends the phase; :func:`~qsm_recon.field.doubt.settle` does what can be done there.

    References
    ----------
    Liu T, et al. Nonlinear formulation of the magnetic field to source relationship for robust quantitative
    susceptibility mapping. Magn Reson Med 2013;69:467-476. doi:10.1002/mrm.24272

    Kressler B, et al. Nonlinear regularization for per voxel estimation of magnetic susceptibility distributions
    from MRI field maps. IEEE Trans Med Imaging 2010;29:273-281. doi:10.1109/TMI.2009.2023787
    """
    voxels = VoxelList.gather(echoes, mask)
    if bipolar and echoes.echo_count < 3:
        raise DataError(f"the bipolar phase term needs at least 3 echoes, found {echoes.echo_count}")
    if echoes.echo_count == 1:
        return _fit_single_echo(voxels, noise_sigma, grid)
    pairs, spacing, even = echo_pairs(voxels.echo_times, 2 if bipolar else 1)
    period = 1.0 / spacing
    group = (np.arange(voxels.echo_times.size) % (2 if bipolar else 1)).astype(np.intp)

    start = start_frequency(voxels, pairs, spacing)
    if not even:
        unwrapping = _unwrap_start(voxels, start, pairs, spacing, noise_sigma)
    solution = _run_fit(voxels, group, period, start)
    level = noise_level(voxels, solution.misfit, parameters=2 + bipolar, sigma=noise_sigma)
    noise = level.frequency_noise(solution.information)
    determined = solution.information > 0
    fitted = voxels.restricted(determined)
    if even:
        unwrapping = _unwrap_solution(voxels, solution, fitted, group, period, noise)
        if unwrapping.turns.any() and np.ptp(np.diff(voxels.echo_times)) > 1e-6 * spacing:
            # The aliases of nearly even echoes are nearly equal: settle on the minimum near the chosen one.
            solution = _run_fit(voxels, group, 0.5 * period, solution.frequency)
    left = Fitted(
        solution.frequency, noise, solution.misfit, solution.intercept, determined, group, period, level, even
    )
    settlement = settle(voxels, left, grid)
    initial, bipolar_phase = _split_intercepts(solution.intercept)
    report = describe(voxels, fitted, period, unwrapping, level) | {"unconverged_voxels": solution.unconverged}
    everywhere = bool(determined.all())

    def image(values: NDArray[np.float64]) -> NDArray[np.float32]:
        return voxels.scatter(values if everywhere else np.where(determined, values, 0.0))

    return FrequencyFit(
        image(solution.frequency),
        image(initial),
        voxels.scatter(noise),
        image(voxels.relative_residual(solution.misfit)),
        fitted,
        image(bipolar_phase) if bipolar_phase is not None else None,
        voxels.scatter(settlement.reliability),
        report | settlement.report,
    )


def _unwrap_start(
    voxels: VoxelList,
    start: NDArray[np.float64],
    pairs: NDArray[np.intp],
    spacing: float,
    noise_sigma: float | None,
) -> Unwrapping:
    """Unwrap starting frequencies in place: with uneven spacing aliases are not equally good for the fit."""
    period = 1.0 / spacing
    noise = pair_noise(voxels, pairs, spacing, noise_sigma)
    unwrapping = unwrap_in_space(voxels.scatter(start), voxels.mask, period, voxels.scatter(noise))
    start += period * unwrapping.turns.ravel()[voxels.index]
    return unwrapping


def _unwrap_solution(
    voxels: VoxelList,
    solution: _Solution,
    fitted: NDArray[np.bool_],
    group: NDArray[np.intp],
    period: float,
    noise: NDArray[np.float64],
) -> Unwrapping:
    """Unwrap what was fitted, in place.

    With a bipolar term one period more of frequency is the same as a quarter turn more of bipolar phase.
    """
    opposite = None
    if group.any():
        opposite = voxels.scatter(np.cos(solution.intercept[:, 0] - solution.intercept[:, 1]))
    unwrapping = unwrap_in_space(voxels.scatter(solution.frequency), fitted, period, voxels.scatter(noise), opposite)
    solution.shift(unwrapping.turns.ravel()[voxels.index], period, voxels.echo_times, group)
    return unwrapping


def echo_pairs(echo_times: NDArray[np.float64], lag: int) -> tuple[NDArray[np.intp], float, bool]:
    """Return the echo pairs ``lag`` apart with the shortest spacing, it (s), and whether the echoes are even."""
    spacings = echo_times[lag:] - echo_times[:-lag]
    shortest = float(spacings.min())
    first = np.flatnonzero(spacings <= shortest * (1 + EVEN_SPACING))
    steps = np.diff(echo_times)
    even = bool(np.ptp(steps) <= EVEN_SPACING * steps.min())
    return np.stack([first, first + lag], axis=1).astype(np.intp), float(spacings[first].mean()), even


def start_frequency(voxels: VoxelList, pairs: NDArray[np.intp], spacing: float) -> NDArray[np.float64]:
    """Return the wrapped frequency (Hz) of every voxel from the phase differences of echo pairs."""
    from qsm_recon.backend.kernels.signal import pair_frequency
    from qsm_recon.backend.threads import parallel_slabs

    frequency = np.empty(voxels.count)
    parallel_slabs(pair_frequency, voxels.count, voxels.magnitude, voxels.phase, pairs, spacing, frequency)
    return frequency


def pair_noise(
    voxels: VoxelList, pairs: NDArray[np.intp], spacing: float, noise_sigma: float | None
) -> NDArray[np.float64]:
    """Return the standard deviation (Hz) of the start, from the magnitudes; infinite where there is no signal."""
    power = np.square(voxels.magnitude, dtype=np.float64)
    first, second = power[:, pairs[:, 0]], power[:, pairs[:, 1]]
    both = first + second
    information = spacing**2 * np.sum(first * second / np.where(both > 0, both, 1.0), axis=1)
    noise = noise_level(voxels, None, parameters=1, sigma=noise_sigma).frequency_noise(information)
    return np.where(information > 0, noise, np.inf)


@dataclass
class _Solution:
    frequency: NDArray[np.float64]
    intercept: NDArray[np.float64]
    information: NDArray[np.float64]
    misfit: NDArray[np.float64]
    unconverged: int

    def shift(
        self, turns: NDArray[np.int16], period: float, echo_times: NDArray[np.float64], group: NDArray[np.intp]
    ) -> None:
        """Move to another alias: the model phase at the echoes stays what it was."""
        if not turns.any():
            return
        step = turns * period
        self.frequency += step
        for g in range(self.intercept.shape[1]):
            first = echo_times[np.argmax(group == g)]
            self.intercept[:, g] -= 2.0 * math.pi * step * first


def _run_fit(voxels: VoxelList, group: NDArray[np.intp], window_hz: float, start: NDArray[np.float64]) -> _Solution:
    """Fit all voxels, searching ``window_hz`` around the start, which is overwritten."""
    from qsm_recon.backend.kernels.signal import fit_frequency
    from qsm_recon.backend.threads import parallel_slabs

    count = voxels.count
    solution = _Solution(start, np.empty((count, int(group.max()) + 1)), np.empty(count), np.empty(count), 0)
    times = voxels.echo_times
    span, shortest = float(times[-1] - times[0]), float(np.diff(times).min())
    # Few echoes with one short gap tell aliases apart by a phase of 2 pi shortest / span: the grid must be as fine.
    oversampling = max(GRID_OVERSAMPLING, math.ceil(2.0 * span / shortest / (times.size - 1)))
    grid_steps = math.ceil(oversampling * (window_hz * span + 1))
    unconverged = parallel_slabs(
        fit_frequency,
        count,
        voxels.magnitude,
        voxels.phase,
        voxels.echo_times,
        group,
        window_hz,
        grid_steps,
        TOLERANCE_RAD,
        MAX_ITERATIONS,
        solution.frequency,
        solution.intercept,
        solution.information,
        solution.misfit,
    )
    solution.unconverged = int(sum(unconverged))
    return solution


def _split_intercepts(intercept: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Return initial phase and, for two readout directions, the bipolar phase (rad)."""
    if intercept.shape[1] == 1:
        return wrapped(intercept[:, 0]), None
    bipolar = 0.5 * wrapped(intercept[:, 0] - intercept[:, 1])
    return wrapped(intercept[:, 0] - bipolar), bipolar


def _fit_single_echo(voxels: VoxelList, noise_sigma: float | None, grid: Grid | None) -> FrequencyFit:
    """Frequency of one echo: spatially unwrapped phase over 2 pi TE, initial phase taken to be 0."""
    echo_time = float(voxels.echo_times[0])
    period = 1.0 / echo_time
    information = (voxels.magnitude[:, 0].astype(np.float64) * echo_time) ** 2
    level = noise_level(voxels, None, parameters=1, sigma=noise_sigma)
    noise, determined = level.frequency_noise(information), information > 0
    fitted = voxels.restricted(determined)
    frequency = np.where(determined, voxels.phase[:, 0].astype(np.float64) * period / (2.0 * math.pi), 0.0)
    unwrapping = unwrap_in_space(voxels.scatter(frequency), fitted, period, voxels.scatter(noise))
    frequency += period * unwrapping.turns.ravel()[voxels.index]
    none, group = np.zeros(voxels.count), np.zeros(1, np.intp)
    left = Fitted(frequency, noise, none, none[:, None].copy(), determined, group, period, level, even=True)
    settlement = settle(voxels, left, grid)
    zero = np.zeros(voxels.mask.shape, np.float32)
    report = describe(voxels, fitted, period, unwrapping, level) | {"initial_phase": "taken to be 0 (single echo)"}
    return FrequencyFit(
        voxels.scatter(np.where(determined, frequency, 0.0)),
        zero,
        voxels.scatter(noise),
        zero,
        fitted,
        reliability=voxels.scatter(settlement.reliability),
        report=report | settlement.report,
    )


def describe(
    voxels: VoxelList, fitted: NDArray[np.bool_], period: float, unwrapping: Unwrapping, level: NoiseLevel
) -> dict[str, Any]:
    """Return what an estimate found, ready for JSON."""
    undetermined = voxels.count - int(np.count_nonzero(fitted))
    if undetermined:
        logger.info("%d voxels of the mask have too little signal for a frequency and are left out", undetermined)
    return {
        "echo_times_s": [float(t) for t in voxels.echo_times],
        "ambiguity_hz": period,
        "aliased": unwrapping.aliased,
        "unwrapped_voxels": int(np.count_nonzero(unwrapping.turns)),
        "open_jumps": unwrapping.open_jumps,
        "open_fringes": unwrapping.open_fringes,
        "mask_voxels": voxels.count,
        "undetermined_voxels": undetermined,
        "noise_sigma": level.sigma,
        "noise_sigma_from": level.origin,
    }
