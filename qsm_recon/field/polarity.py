"""Signs that a readout or a reconstruction puts on the signal: bipolar echoes, slices turned by half a turn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.field.complex_fit import EVEN_SPACING
from qsm_recon.field.echoes import EchoSeries
from qsm_recon.field.voxels import box_around, check_mask, wrapped

BLOCK = 4
LARGEST_SAMPLE = 16_000
FEW_BLOCKS = 16
USABLE_SHARE = 0.5
"""Share of a block's voxels that must be in the mask and have signal where there are fewer whole blocks than that."""
SMALLEST_BIPOLAR_RAD = 0.05
"""A smaller phase between odd and even echoes moves the field by less than 1 Hz at usual echo spacings."""
SMALLEST_BIPOLAR_RAD_OF_THREE = 0.1
"""With three echoes any curvature of the phase looks like it."""
SIGNIFICANT = 5.0
EXPLAINED = 0.5
"""Share of the mean square misfit that the odd/even term must take away."""
FOLLOWING = 0.7
"""Correlation with the frequency above which an odd/even phase comes from echoes in the wrong order."""
REGRESSIONS = 4
GRID_OVERSAMPLING = 8
MOST_ALIASES = 4.0
"""Aliases in the search around a frequency above which one explains any readout, by so little do they differ."""
COHERENT = 0.5
COHERENT_SHARE, TURNED_SHARE = 0.9, 0.25


@dataclass(frozen=True)
class BipolarTest:
    """What tells a bipolar readout, medians over a sample of the mask.

    Parameters
    ----------
    present
        Whether odd and even echoes carry phases of opposite sign.
    phase_rad
        Half the phase between odd and even echoes, rad, up to a quarter turn.
    residual, residual_with_term
        Relative residual of the fit without and with an odd/even term.
    voxels
        How many were looked at; 0 where the question cannot be put (fewer than three echoes).
    """

    present: bool
    phase_rad: float
    residual: float
    residual_with_term: float
    voxels: int


def bipolar_test(echoes: EchoSeries, mask: NDArray[np.bool_]) -> BipolarTest:
    """Find out whether odd and even echoes were read in opposite directions.

    Blocks of voxels all over the mask are fitted with and without the odd/even term.  A bipolar readout gives a phase
    that is far above its scatter within most blocks, takes most of the misfit away (which three echoes cannot tell),
    and does not vary with the field.

    Parameters
    ----------
    echoes
        The series.
    mask
        (nx, ny, nz) bool.
    """
    if echoes.echo_count < 3:
        return BipolarTest(False, 0.0, 0.0, 0.0, 0)
    magnitude, phase = sample_voxels(echoes, mask)
    used = magnitude[:, 0] > 0
    if not used.any():
        return BipolarTest(False, 0.0, 0.0, 0.0, 0)
    times = np.asarray(echoes.echo_times_s)
    common, _, plain = fit_groups(magnitude, phase, times, 1)
    frequency, intercepts, split = fit_groups(magnitude, phase, times, 2, common)
    power = np.maximum(np.sum(magnitude**2, axis=1), np.finfo(float).tiny)
    residual, residual_with = (float(np.median(np.sqrt(misfit / power)[used])) for misfit in (plain, split))
    # The alias of the frequency moves the phase by a quarter turn, which four times it does not see.
    turned = (used * np.exp(4j * 0.5 * (intercepts[:, 0] - intercepts[:, 1]))).reshape(-1, BLOCK**3)
    voxels = used.reshape(turned.shape).sum(axis=1)
    mean = turned.sum(axis=1) / voxels
    typical = float(np.median(np.abs(np.angle(mean)))) / 4
    scatter = np.sqrt(np.maximum(-2 * np.log(np.clip(np.abs(mean), 1e-6, 1.0)), 1e-12) / voxels)
    significant = float(np.median(np.abs(np.angle(mean)) / scatter)) > SIGNIFICANT
    count = echoes.echo_count
    limit = SMALLEST_BIPOLAR_RAD_OF_THREE if count == 3 else SMALLEST_BIPOLAR_RAD
    explained = count == 3 or residual_with**2 / (count - 3) < (1 - EXPLAINED) * residual**2 / (count - 2)
    spacing = np.diff(times)
    turns = (used * np.exp(4j * np.pi * float(spacing.min()) * frequency)).reshape(turned.shape)
    even = np.ptp(spacing) <= EVEN_SPACING * spacing.min()  # else another order does not look bipolar
    present = typical > limit and significant and explained and not (even and _follow_each_other(turned, turns))
    period = _period_of_aliases(times)
    if present and period is not None:  # the phase is that of any alias: is that of the nearest one nothing?
        _, intercepts, _ = fit_groups(magnitude, phase, times, 2, common, 1.0 / period)
        apart = intercepts[used, 0] - intercepts[used, 1]
        typical = 0.5 * float(np.median(np.abs(np.angle(np.exp(1j * apart)))))
        present = typical > SMALLEST_BIPOLAR_RAD
    return BipolarTest(bool(present), typical, residual, residual_with, int(used.sum()))


def _period_of_aliases(times: NDArray[np.float64]) -> float | None:
    """Gap (s) within the odd and within the even echoes of which all of these are multiples, where that is one.

    Frequencies its period apart then explain the echoes alike, each with another phase between odd and even ones: three
    echoes at 4.6, 7.1 and 20 ms look bipolar by all but one of them.  None for even echoes, whose aliases differ by a
    quarter turn.
    """
    gaps = np.concatenate([np.diff(times[0::2]), np.diff(times[1::2])])
    shortest = float(gaps.min())
    aliases = 0.5 * shortest / float(np.min(np.diff(times)))
    multiples = gaps / shortest
    alike = bool(np.all(np.abs(multiples - np.rint(multiples)) <= EVEN_SPACING))
    return shortest if alike and 1 + EVEN_SPACING < aliases <= MOST_ALIASES else None


def _follow_each_other(phase: NDArray[np.complex128], frequency: NDArray[np.complex128]) -> bool:
    """Whether an odd/even phase varies with the frequency; both as phasors, (blocks, voxels), free of aliases.

    That of a readout is linear in space.  Echoes in another order than their times look bipolar in each voxel: 1, 3, 2,
    4 is half the frequency and a phase that grows with it.  Compared are the steps from one half of every block to the
    other, less their mean along each axis.
    """
    steps: list[list[NDArray[np.float64]]] = []
    for phasors in (phase, frequency):
        blocks = phasors.reshape(-1, BLOCK, BLOCK, BLOCK)
        steps.append([])
        for axis in range(1, 4):
            halves = np.moveaxis(blocks, axis, 1).reshape(len(blocks), 2, -1).mean(axis=2)
            step = halves[:, 1] * halves[:, 0].conj()
            steps[-1].append(np.angle(step * np.conj(step.sum())))
    first, second = (np.concatenate(part) for part in steps)
    size = float(np.sqrt(np.mean(first**2) * np.mean(second**2)))
    return size > 0 and abs(float(np.mean(first * second))) > FOLLOWING * size


def turned_slices(echoes: EchoSeries, mask: NDArray[np.bool_]) -> list[tuple[int, NDArray[np.bool_]]]:
    """Find slices whose signal is turned by half a turn against their neighbours'.

    Some scanners write every other slice with the opposite sign, and a reconstruction that leaves out the shift of the
    Fourier transform does so along every axis that it transforms.  Between neighbouring slices of a real object the
    phase hardly changes: a product that is negative on nearly the whole slice is no field.

    Parameters
    ----------
    echoes
        The series; the first echo is looked at.
    mask
        (nx, ny, nz) bool.

    Returns
    -------
    list of (axis, turned)
        Every axis along which there are such slices, and which of them are to be turned back.
    """
    box, found = box_around(mask), []
    amplitude, angle = (np.ascontiguousarray(part[..., 0][box]) for part in (echoes.magnitude, echoes.phase_rad))
    amplitude = amplitude * mask[box]
    signal = np.empty(amplitude.shape, np.complex64)
    signal.real, signal.imag = amplitude * np.cos(angle), amplitude * np.sin(angle)
    for axis in range(3):
        moved = np.moveaxis(signal, axis, 0)
        product = moved[:-1] * moved[1:].conj()
        size, real = np.zeros(mask.shape[axis] - 1), np.zeros(mask.shape[axis] - 1)
        inside = slice(box[axis].start, box[axis].start + len(product))
        size[inside] = np.abs(product).sum(axis=(1, 2), dtype=np.float64)
        real[inside] = product.real.sum(axis=(1, 2), dtype=np.float64)
        if not size.any():
            continue
        agreement = real / np.where(size > 0, size, 1.0)
        coherent = float(size[np.abs(agreement) > COHERENT].sum() / size.sum())
        opposite = float(size[agreement < -COHERENT].sum() / size.sum())
        if coherent >= COHERENT_SHARE and opposite >= TURNED_SHARE:
            turned = np.concatenate([[False], np.cumsum(agreement < 0) % 2 == 1])
            found.append((axis, turned if 2 * turned.sum() <= turned.size else ~turned))
    return found


def sample_voxels(
    echoes: EchoSeries, mask: NDArray[np.bool_], largest: int = LARGEST_SAMPLE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Magnitude and phase, both (voxels, echoes), of blocks of voxels all over the mask, block after block.

    Voxels of a block that the mask leaves out, or that have no signal in the first echo, have the magnitude 0.
    """
    usable = check_mask(mask, echoes.shape) & (echoes.magnitude[..., 0] > 0)
    corners = _sample_blocks(usable, largest)
    offsets = np.argwhere(np.ones((BLOCK,) * 3, bool))
    where = tuple((corners[:, None] + offsets).reshape(-1, 3).T)
    magnitude = echoes.magnitude[where].astype(np.float64)
    magnitude[~usable[where]] = 0
    return magnitude, echoes.phase_rad[where].astype(np.float64)


def _sample_blocks(usable: NDArray[np.bool_], largest: int) -> NDArray[np.intp]:
    """First voxels of blocks of usable voxels, evenly chosen.

    Blocks are whole ones; where these are few, as in a mask full of holes or a few slices, they are those of which half
    is usable, from where the usable voxels begin.
    """
    corners = _blocks(usable, [0, 0, 0], 1.0)
    if len(corners) < FEW_BLOCKS:
        partly = _blocks(usable, [part.start for part in box_around(usable)], USABLE_SHARE)
        corners = max(corners, partly, key=len)
    step = max(1, math.ceil(len(corners) * BLOCK**3 / largest))
    return corners[step // 2 :: step]


def _blocks(usable: NDArray[np.bool_], start: list[int], share: float) -> NDArray[np.intp]:
    """First voxels of blocks, laid side by side from a voxel on, of which a share of the voxels is usable."""
    counts = [(size - first) // BLOCK for size, first in zip(usable.shape, start, strict=True)]
    tiled = usable[tuple(slice(first, first + n * BLOCK) for first, n in zip(start, counts, strict=True))]
    shares = tiled.reshape([n for count in counts for n in (count, BLOCK)]).mean(axis=(1, 3, 5))
    return np.argwhere(shares >= share) * BLOCK + start


def fit_groups(
    magnitude: NDArray[np.float64],
    phase: NDArray[np.float64],
    times: NDArray[np.float64],
    groups: int,
    near: NDArray[np.float64] | None = None,
    span_hz: float | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Frequency and one phase per group of echoes of every voxel; returns frequency, phases and misfit.

    Minimises Σ |S|² 2 (1 - cos e) with e the residual phase: a search over one period of the frequency, or over a
    half or ``span_hz`` around ``near``, then regressions on the residual phase.
    """
    weight, angle = np.ascontiguousarray(magnitude.T) ** 2, np.ascontiguousarray(phase.T)  # sums over echoes are quick
    group = np.arange(times.size) % groups
    members = [group == g for g in range(groups)]
    signal = weight * np.exp(1j * angle)
    later = times[:, None]
    span = (1.0 if near is None else 0.5) / float(np.min(np.diff(times))) if span_hz is None else span_hz
    steps = math.ceil(GRID_OVERSAMPLING * (span * (times[-1] - times[0]) + 1))
    centre = np.zeros(len(phase)) if near is None else near
    best, frequency = np.full(len(phase), -1.0), centre
    turned = signal * np.exp(-2j * np.pi * (centre - 0.5 * span) * later)
    rotation = np.exp(-2j * np.pi * span / steps * later)  # from one trial to the next
    for offset in (np.arange(steps) / steps - 0.5) * span:
        trial = centre + offset
        height = sum(np.abs(turned[part].sum(axis=0)) for part in members)
        frequency, best = np.where(height > best, trial, frequency), np.maximum(height, best)
        turned *= rotation
    for regression in range(REGRESSIONS + 1):
        turned = signal * np.exp(-2j * np.pi * frequency * later)
        intercepts = np.stack([np.angle(turned[part].sum(axis=0)) for part in members])
        error = wrapped(angle - intercepts[group] - 2 * np.pi * frequency * later)
        if regression == REGRESSIONS:
            break
        slope, information = np.zeros(len(phase)), np.zeros(len(phase))
        for part in members:
            w = weight[part]
            centred = later[part] - times[part] @ w / np.maximum(w.sum(axis=0), 1e-300)
            slope += np.sum(w * centred * error[part], axis=0)
            information += np.sum(w * centred**2, axis=0)
        frequency = frequency + np.divide(slope, 2 * np.pi * information, out=slope, where=information > 0)
    return frequency, intercepts.T, np.sum(weight * 2 * (1 - np.cos(error)), axis=0)
