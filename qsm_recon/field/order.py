"""Whether echoes are in the order of their times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.field.echoes import EchoSeries
from qsm_recon.field.polarity import BLOCK, fit_groups, sample_voxels

LARGEST_SAMPLE = 8000
AVERAGED = 2
"""Voxels along each axis that are averaged: what noise hides of a wrong order shows, and the field hardly varies."""
EVERY_ORDER_OF = 5
"""So many echoes have 59 orders other than their own, if a reversed one is the same."""
EXPLAINED, EXPLAINED_IN_MOST = 0.4, 0.15
"""Shares of the misfit, in the mean square and in the median, that another order must take away.  With
the right order hardly any takes anything away."""
AS_WELL_AS_A_READOUT = 1.5
"""Another order explains a wrong one as well as an odd/even phase in every voxel does, and a readout's far worse."""
SCREENED, FINALISTS = 200, 5
"""Voxels that all orders are tried on, and how many of the orders on all voxels: many echoes have hundreds of them."""
OFFSET_ROUNDS = 4
LARGEST_GROWTH = 1.05
"""Signal decays; its sum over the mask grows from one echo to the next only where they are in another order."""


@dataclass(frozen=True)
class OrderTest:
    """What tells that echoes are in another order than their times.

    Parameters
    ----------
    suspect
        Whether they seem to be.
    better_order
        Numbers of the echoes, from 1, in the order (or its reverse, which phase cannot tell from it) in which their
        phase follows one frequency far better; empty where there is none.
    residual, residual_in_order
        Residual phase in rad, root mean square over a sample of the mask, as given and in the order that fits best.
    growth
        Largest ratio of the signal of an echo, summed over the mask, to that of the one before.
    growing_echo
        Number, from 1, of the echo that has it.
    """

    suspect: bool = False
    better_order: tuple[int, ...] = ()
    residual: float = 0.0
    residual_in_order: float = 0.0
    growth: float = 0.0
    growing_echo: int = 0

    def __str__(self) -> str:
        """What was found, in words."""
        found = []
        if self.better_order:
            found.append(
                f"the phase follows one frequency far better in the order {', '.join(map(str, self.better_order))} or "
                f"its reverse (to {self.residual_in_order:.2g} rad, {self.residual:.2g} rad as given)"
            )
        if self.growth > LARGEST_GROWTH:
            found.append(
                f"the magnitude of echo {self.growing_echo} is {100 * self.growth - 100:.0f} % above that of echo "
                f"{self.growing_echo - 1}, but signal decays"
            )
        return "; ".join(found)


def order_test(echoes: EchoSeries, mask: NDArray[np.bool_]) -> OrderTest:
    """Find out whether echoes are in another order than their times.

    Voxels all over the mask are fitted with the echoes in other orders: all of them up to five echoes, else exchanges
    of two, of neighbours in pairs, rotations, and odd before even echoes.  What an odd/even phase of a readout explains
    is not laid on the order, nor what a phase does that each echo has everywhere.

    Parameters
    ----------
    echoes
        The series.
    mask
        (nx, ny, nz) bool.
    """
    if echoes.echo_count < 2 or not mask.any():
        return OrderTest()
    inside = zip(echoes.magnitude, mask, strict=True)
    sums = np.sum([part.reshape(-1, echoes.echo_count).T @ own.ravel().astype(np.float32) for part, own in inside], 0)
    ratios = sums[1:] / np.maximum(sums[:-1], np.finfo(float).tiny)
    growth, growing = float(ratios.max()), int(ratios.argmax()) + 2
    weight, phase = _averaged(*sample_voxels(echoes, mask, LARGEST_SAMPLE))
    if echoes.echo_count < 3 or not weight.any():
        return OrderTest(growth > LARGEST_GROWTH, growth=growth, growing_echo=growing)

    def mean(misfit: NDArray[np.float64]) -> float:
        return float(np.average(misfit, weights=weight)) / echoes.echo_count

    used = weight > 0
    times = np.asarray(echoes.echo_times_s)
    alike = np.repeat(used[:, None] * 1.0, phase.shape[1], axis=1)  # in any order
    plain, readout = _misfits_in_order(alike, phase, times)
    best, order = plain, list[int]()
    for tried in _promising(_other_orders(echoes.echo_count), phase, times, weight):
        _, _, misfit = fit_groups(alike, phase[:, tried], times, 1)
        if mean(misfit) < mean(best):
            best, order = misfit, tried
    better = (
        mean(best) < (1 - EXPLAINED) * mean(plain)
        and np.median(best[used]) < (1 - EXPLAINED_IN_MOST) * np.median(plain[used])
        and mean(best) < AS_WELL_AS_A_READOUT * mean(readout)
        and mean(best) < mean(_misfit_with_offsets(alike, phase, times))
    )
    return OrderTest(
        bool(better or growth > LARGEST_GROWTH),
        tuple(n + 1 for n in order) if better else (),
        math.sqrt(mean(plain)),
        math.sqrt(mean(best)),
        growth,
        growing,
    )


def _promising(
    orders: list[list[int]], phase: NDArray[np.float64], times: NDArray[np.float64], weight: NDArray[np.float64]
) -> list[list[int]]:
    """The orders that fit some of the voxels, all over the mask, best; best first."""
    used = np.flatnonzero(weight)
    some = used[:: max(1, used.size // SCREENED)]
    alike, few = np.ones((some.size, times.size)), phase[some]
    misfits = [
        float(np.average(fit_groups(alike, few[:, tried], times, 1)[2], weights=weight[some])) for tried in orders
    ]
    return [orders[n] for n in np.argsort(misfits, kind="stable")[:FINALISTS]]


def _averaged(
    magnitude: NDArray[np.float64], phase: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Phase from the first echo on, averaged over neighbours, and the power of the weakest echo there."""
    signal = magnitude * np.exp(1j * (phase - phase[:, :1]))
    parts = signal.reshape(-1, *(BLOCK // AVERAGED, AVERAGED) * 3, signal.shape[1]).mean(axis=(2, 4, 6))
    averaged = parts.reshape(-1, signal.shape[1])
    return np.square(np.abs(averaged)).min(axis=1, initial=np.inf), np.angle(averaged)


def _misfits_in_order(
    magnitude: NDArray[np.float64], phase: NDArray[np.float64], times: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Misfit of every voxel as given, and with an odd/even phase, scaled to as many degrees of freedom.

    Three echoes leave none with a phase in every voxel; there it is that of the block.
    """
    frequency, _, plain = fit_groups(magnitude, phase, times, 1)
    _, intercepts, split = fit_groups(magnitude, phase, times, 2, frequency)
    if times.size > 3:
        return plain, split * (times.size - 2) / (times.size - 3)
    voxels = (BLOCK // AVERAGED) ** 3
    turned = magnitude[:, 0] * np.exp(2j * (intercepts[:, 0] - intercepts[:, 1]))  # four times the half difference
    turned = turned.reshape(-1, voxels)
    half = np.repeat(np.angle(turned.mean(axis=1)) / 4, voxels)
    _, _, block = fit_groups(magnitude, phase - half[:, None] * np.array([1, -1, 1]), times, 1)
    return plain, np.minimum(plain, block)


def _misfit_with_offsets(
    magnitude: NDArray[np.float64], phase: NDArray[np.float64], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Misfit of every voxel where each echo may have a phase of its own, the same everywhere (as of eddy currents)."""
    offsets = np.zeros(times.size)
    for _ in range(OFFSET_ROUNDS):
        frequency, intercepts, misfit = fit_groups(magnitude, phase - offsets, times, 1)
        error = phase - offsets - intercepts - 2 * np.pi * frequency[:, None] * times
        offsets = offsets + np.angle(np.sum(magnitude * np.exp(1j * error), axis=0))
    return misfit


def _other_orders(count: int) -> list[list[int]]:
    """Orders to try, each once, without the reverse of another one."""
    own = list(range(count))
    if count <= EVERY_ORDER_OF:
        candidates = [list(order) for order in permutations(own)]
    else:
        candidates = [own[first:] + own[:first] for first in own]
        candidates += [own[::2] + own[1::2], [*np.argsort(own[::2] + own[1::2])]]
        pairs = own.copy()
        for first in range(0, count - 1, 2):
            pairs[first : first + 2] = first + 1, first
        candidates.append(pairs)
        for first, second in combinations(own, 2):
            exchanged = own.copy()
            exchanged[first], exchanged[second] = second, first
            candidates.append(exchanged)
    forward = {tuple(map(int, order if order[0] < order[-1] else order[::-1])) for order in candidates}
    return [list(order) for order in sorted(forward - {tuple(own)})]
