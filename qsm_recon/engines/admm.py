"""The alternating direction method of multipliers for every method of the FANSI type.

Minimises  fidelity(D χ + h) + regulariser(∇χ) [+ background(Δh)]  with splittings of the gradient (penalty mu1), of the
field (mu2) and of the background's Laplacian.  What an iteration does is in :mod:`qsm_recon.engines.sweeps`.

References
----------
Boyd et al., Found Trends Mach Learn 3:1-122 (2011), doi 10.1561/2200000016: residuals, balancing, over-relaxation.
Milovic et al., MRM 80:814-821 (2018), doi 10.1002/mrm.27073: the splitting.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.memory import return_free_memory
from qsm_recon.engines.interrupt import Interruption
from qsm_recon.engines.loop import Loop, Outcome
from qsm_recon.engines.map_distance import MapDistance
from qsm_recon.result import Callback, StopReason
from qsm_recon.terms.background import WeakHarmonic
from qsm_recon.terms.regulariser import GradientSplitting

TINY = 1e-30
WINDOW = 20
EARLY_DECAY = 2 ** (1 / 3)
BACKGROUND_BALANCED = (16, 256)  # iterations between which muh is adapted, at powers of two


@dataclass(frozen=True)
class ADMMSettings:
    """How the loop runs.

    Parameters
    ----------
    gradient_penalty
        mu1 at the start.
    field_penalty
        mu2.
    max_iterations
        The most iterations done.
    tolerance
        Estimated distance of χ from its limit to stop at, relative to the norm of χ and inside the mask.  How it is
        estimated is in :mod:`qsm_recon.engines.map_distance`.
    objective_tolerance
        Estimated relative distance of the objective from its minimum that must have been reached as well where there is
        a background.  The objective is evaluated at χ itself, not at the splittings; see :func:`distance_left`.
    residual_tolerance
        Relative primal and dual residuals that must have been reached as well.
    update_tolerance
        Also stop when ‖χ - χ_old‖ / ‖χ‖ falls below this fraction; 0 switches it off.
    relaxation
        Over-relaxation factor in [1, 2); 1 for none.
    units_per_ppm
        Internal units of χ and the field per ppm; what is monitored is reported in ppm.
    fidelity_power
        Power of the field that the fidelity is: 2 for squares, 1 for l1 norms.
    early_threshold
        Factor on the shrinkage threshold alpha / mu1 in the first iteration of a start from nothing, or from a rough
        map; it halves every three iterations until it is 1.  Large steps first: strong sources reach their size in tens
        of iterations.
    negligible
        Root mean square of χ below which it counts as nothing, in internal units.
    balance
        Whether mu1 is adapted so that primal and dual residuals of the gradient stay comparable.  A background's
        penalty has a switch of its own.
    """

    gradient_penalty: float
    field_penalty: float = 1.0
    max_iterations: int = 500
    tolerance: float = 0.015
    objective_tolerance: float = 2e-3
    residual_tolerance: float = 0.06
    update_tolerance: float = 0.0
    relaxation: float = 1.9
    early_threshold: float = 1.0
    negligible: float = 0.0
    balance: bool = False
    units_per_ppm: float = 1.0
    fidelity_power: int = 2


class Sweeps(Protocol):
    """What the loop asks of an iteration's sweeps over memory, for one kind of data term."""

    image: NDArray
    """Current χ in a padded image buffer."""
    regulariser: GradientSplitting
    background: WeakHarmonic | None
    field_energy: float
    """|φ|², beside which the residual of the field's splitting must be small."""

    @property
    def provisional(self) -> bool:
        """Whether another function stands in for the data term in the next iteration."""

    def run_on(self) -> None:
        """Prepare for another regularisation weight; all buffers stay as they are."""

    def begin(self, field_penalty: float) -> None:
        """Fill the right-hand sides of a start from nothing."""

    def load(self, start: NDArray) -> None:
        """Take a map (nx, ny, nz) into the image."""

    def begin_from_image(self, gradient_penalty: float, field_penalty: float) -> None:
        """Fill the right-hand sides of a start from the image, with zero duals."""

    def rows(self, gradient_penalty: float, field_penalty: float) -> None:
        """Sweep k-space: right-hand sides in, χ and what is coupled to it out, half transformed."""

    def planes(self, gradient_penalty: float, field_penalty: float, relaxation: float) -> dict[str, NDArray[Any]]:
        """Sweep the image: splittings and duals updated, right-hand sides back in.

        Returns for ``image`` the sums of squares of the change of χ and of χ; for every splitting its five sums; for a
        term without a splitting its value alone.
        """


class ADMM(Loop):
    """The loop, and nothing of any particular method.

    Parameters
    ----------
    sweeps
        An iteration, with its terms.
    settings
        How to run.
    mask
        (nx, ny, nz) voxels whose distance from the limit counts; all where None.
    """

    def __init__(self, sweeps: Sweeps, settings: ADMMSettings, mask: NDArray[np.bool_] | None = None) -> None:
        self._sweeps = sweeps
        self._regulariser = sweeps.regulariser
        self._background = sweeps.background
        self._settings = settings
        self._penalty = self._side_penalty = settings.gradient_penalty
        self._early_threshold = 1.0
        self._watched = MapDistance(mask, settings.negligible)
        self._distance = math.inf
        self._loaded = False
        self._changed = 0  # iterations that were done with other penalties, or with a function that stood in

    @property
    def image(self) -> NDArray:
        """See :class:`Loop`."""
        return self._sweeps.image

    @property
    def provisional(self) -> bool:
        """See :class:`Loop`."""
        return self._sweeps.provisional

    def run(self, start: NDArray | None = None, callback: Callback | None = None, *, rough: bool = False) -> Outcome:
        """Start, and iterate until convergence, the iteration limit, a callback's veto or Ctrl-C.

        Parameters
        ----------
        start
            (nx, ny, nz) susceptibility to start from (zero dual variables); what was loaded, or zero, where absent.
        callback
            See :data:`qsm_recon.result.Callback`.
        rough
            Whether the start may lack strong sources, so that the first steps are as large as from nothing.
        """
        if start is not None:
            self.load(start)
        field_penalty = self._settings.field_penalty
        self._early_threshold = 1.0 if self._loaded and not rough else self._settings.early_threshold
        self._side_penalty = self._penalty / self._early_threshold
        if self._loaded:
            return_free_memory()  # as much as the loop would before its first iteration, whose buffers are filled here
            self._sweeps.begin_from_image(self._side_penalty, field_penalty)
        else:
            self._sweeps.begin(field_penalty)
        self._loaded = False
        return self._go_on(callback)

    def load(self, start: NDArray) -> None:
        """Take a map (nx, ny, nz) for :meth:`run` to start from; it is copied, and may be forgotten before."""
        self._sweeps.load(start)
        self._loaded = True

    def run_on(self, factor: float, callback: Callback | None = None, *, rough: bool = False) -> Outcome:
        """Run on after an earlier run, with the regularisation weight multiplied by a factor.

        Penalty and dual variables of the regulariser are multiplied by it too, so that shrinkage thresholds stay and
        the state is close to that of the new minimum.

        Parameters
        ----------
        factor
            New weight over the former one.
        callback
            See :data:`qsm_recon.result.Callback`.
        rough
            As for :meth:`run`.
        """
        if rough:
            self._early_threshold = self._settings.early_threshold
        self._regulariser.rescale(factor)
        self._penalty *= factor
        self._side_penalty *= factor
        self._sweeps.run_on()
        return self._go_on(callback)

    def _go_on(self, callback: Callback | None) -> Outcome:
        self._changed, self._distance = 0, math.inf
        self._watched.begin(self.image)
        return self._loop(self._settings.max_iterations, callback)

    def _distance_left(self) -> float:
        """See :class:`Loop`; beside a background the map alone does not tell."""
        return self._distance if self._background is None else math.inf

    def _reason_to_stop(
        self, iteration: int, values: dict[str, float], history: dict[str, list[float]], provisional: bool
    ) -> StopReason | None:
        """See :class:`Loop`."""
        if provisional:  # another function is being minimised
            self._changed = iteration
            self._watched.begin(self.image, iteration)
            return None
        self._distance = self._watched.observe(self.image, iteration, self._distance)
        if self._is_converged(history):
            return StopReason.MAP
        if iteration > 1 and values["update"] < self._settings.update_tolerance:
            return StopReason.UPDATE
        return None

    def _step(self, iteration: int, interruption: Interruption) -> dict[str, float]:
        """See :class:`Loop`; what is monitored is in ppm."""
        settings = self._settings
        # Right-hand sides hold the scaled duals of the penalties that they were made with: a changed penalty counts
        # from the next splitting on, or the iterates would leap.
        self._sweeps.rows(self._side_penalty, settings.field_penalty)
        penalty = self._side_penalty = self._penalty / self._early_threshold
        sums = self._sweeps.planes(penalty, settings.field_penalty, settings.relaxation)
        self._early_threshold = max(self._early_threshold / EARLY_DECAY, 1.0)
        if self._background is not None:
            self._background.side_penalty = self._background.penalty
        change, norm = sums.pop("image")
        unit = settings.units_per_ppm
        objective_unit = unit**settings.fidelity_power
        weights = dict(zip(self._regulariser.groups, self._regulariser.weights, strict=True))
        variation = sum(weight * sums[name][0] for name, weight in weights.items())
        fidelity = float(sums["field"][0])
        background = 0.0 if self._background is None else 0.5 * self._background.weight * sums["laplacian"][0]
        values = {
            "objective": float(fidelity + variation + background) / objective_unit,
            "fidelity": fidelity / objective_unit,
            "regularisation": float(variation) / self._regulariser.weights[0] / unit,
        }
        for name, part in sums.items():
            if len(part) == 1:  # a term without a splitting
                continue
            _, primal, split_change, split, dual = part
            # Relative to the dual too, which has the same unit: a splitting may vanish, as slopes of TGV do.  Not that
            # of the field, whose dual outgrows it where the penalty is tiny: the measured field tells its size.
            size = max(split, self._sweeps.field_energy if name == "field" else dual, TINY)
            values[f"primal_residual_{name}"] = math.sqrt(primal / size)
            values[f"dual_residual_{name}"] = math.sqrt(split_change / max(dual, TINY))
            if name == "field" and dual <= TINY < fidelity:
                values["dual_residual_field"] = 1.0  # data that do not fit pull: their dual is lost in rounding
        values["update"] = math.sqrt(change / max(norm, TINY))
        values["gradient_penalty"] = float(penalty)
        return values

    def _is_converged(self, history: dict[str, list[float]]) -> bool:
        settings = self._settings
        residual = max(values[-1] for name, values in history.items() if "residual" in name)
        if self._distance > settings.tolerance or residual > settings.residual_tolerance:
            return False
        if self._background is None:
            return True
        # What a map shares with a background moves too slowly for the map to tell, but the objective does.
        return distance_left(history["objective"], self._changed) <= settings.objective_tolerance

    def _prepare(self, iteration: int, last: dict[str, float]) -> None:
        """Raise or lower penalties where one residual is larger than the other; ever more rarely, to settle."""
        done = iteration - 1
        if done == 0 or done & (done - 1):
            return
        if self._settings.balance and done >= 4:
            self._penalty *= balancing_factor(last, "gradient")
            self._changed = done
        least, most = BACKGROUND_BALANCED
        if self._background is not None and self._background.balance and least <= done <= most:
            self._background.penalty *= balancing_factor(last, self._background.name)
            self._changed = done


def distance_left(objective: list[float], changed: int = 0) -> float:
    """Estimated relative distance of an objective from its minimum; infinite before :data:`WINDOW` iterations.

    The distance falls about as a power p of the number k of iterations, so that k / (p n) times what the last n of them
    brought is left.  What n iterations brought at k / 2, or at the first whole window after a change, tells p, which is
    taken to lie between 1.5 and 2.5 (and to be 2 until it can be told).

    Parameters
    ----------
    objective
        After each iteration.
    changed
        Number of iterations at the beginning that tell nothing: penalties or the function were others.
    """
    k = len(objective)
    if k - changed <= WINDOW:
        return math.inf
    recent, power = brought(objective, k), 2.0
    earlier = max(k // 2, changed + WINDOW + 1)
    if k // 2 > WINDOW and 4 * earlier <= 3 * k:
        ratio = max(brought(objective, earlier), TINY) / max(recent, TINY)
        power = min(max(math.log(ratio) / math.log(k / earlier) - 1.0, 1.5), 2.5)
    return recent * max(1.0, k / (power * WINDOW)) / max(abs(objective[-1]), TINY)


def brought(objective: list[float], end: int) -> float:
    """Range of the last values before an index: more than the change from end to end, as l1 norms go up and down."""
    recent = objective[end - 1 - WINDOW : end]
    return max(recent) - min(recent)


def balancing_factor(values: dict[str, float], splitting: str) -> float:
    """Factor on a splitting's penalty that brings its residuals towards each other (Boyd et al. 2011, 3.4.1)."""
    ratio = values[f"primal_residual_{splitting}"] / max(values[f"dual_residual_{splitting}"], TINY)
    return min(max(math.sqrt(ratio), 0.2), 5.0)
