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

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.fft import FourierTransform
from qsm_recon.engines.interrupt import interruptible
from qsm_recon.engines.map_distance import MapDistance
from qsm_recon.engines.sweeps import Sweeps
from qsm_recon.result import Callback, IterationState
from qsm_recon.terms.background import WeakHarmonic
from qsm_recon.terms.fidelity import Fidelity
from qsm_recon.terms.regulariser import Regulariser

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
        Factor on the shrinkage threshold alpha / mu1 in the first iteration of a start from nothing; it halves every
        three iterations until it is 1.  Large steps first: strong sources reach their size in tens of iterations.
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


@dataclass(eq=False)
class ADMMOutcome:
    """Where the loop ended: χ in a padded image buffer (unit of the field), history, and why it stopped.

    ``distance`` is the estimated distance of χ from its limit, relative to its norm; infinite where none could be told.
    """

    image: NDArray
    history: dict[str, list[float]]
    converged: bool
    stop_reason: str
    distance: float = math.inf

    def facts(self) -> dict[str, float | None]:
        """What a report says of it."""
        return {"map_distance": self.distance if math.isfinite(self.distance) else None}


class ADMM:
    """The loop, and nothing of any particular method.

    Parameters
    ----------
    transform
        Fourier transform of the padded grid.
    dipole
        Dipole kernel in a half-image buffer of that transform.
    fidelity, regulariser, background
        The terms; no background where None.
    settings
        How to run.
    mask
        (nx, ny, nz) voxels whose distance from the limit counts; all where None.
    """

    def __init__(
        self,
        transform: FourierTransform,
        dipole: NDArray,
        fidelity: Fidelity,
        regulariser: Regulariser,
        settings: ADMMSettings,
        background: WeakHarmonic | None = None,
        mask: NDArray[np.bool_] | None = None,
    ) -> None:
        self._sweeps = Sweeps(transform, dipole, fidelity, regulariser, background)
        self._field_energy = fidelity.field_energy
        self._regulariser = regulariser
        self._background = background
        self._settings = settings
        self._penalty = self._side_penalty = settings.gradient_penalty
        self._early_threshold = 1.0
        self._distance = MapDistance(mask, settings.negligible)

    @property
    def image(self) -> NDArray:
        """Current χ in a padded image buffer, in the unit of the field."""
        return self._sweeps.image

    def run(self, start: NDArray | None = None, callback: Callback | None = None) -> ADMMOutcome:
        """Iterate until convergence, the iteration limit, a callback's veto or Ctrl-C.

        Parameters
        ----------
        start
            (nx, ny, nz) susceptibility to start from (zero dual variables); zero where absent.
        callback
            See :data:`qsm_recon.result.Callback`.
        """
        field_penalty = self._settings.field_penalty
        if start is None:
            self._sweeps.begin(field_penalty)
        else:
            self._sweeps.begin_from(start, self._penalty, field_penalty)
        self._early_threshold = self._settings.early_threshold if start is None else 1.0
        self._side_penalty = self._penalty / self._early_threshold
        return self._loop(callback)

    def run_on(self, factor: float, callback: Callback | None = None) -> ADMMOutcome:
        """Run on after an earlier run, with the regularisation weight multiplied by a factor.

        Penalty and dual variables of the regulariser are multiplied by it too, so that shrinkage thresholds stay and
        the state is close to that of the new minimum.
        """
        self._regulariser.rescale(factor)
        self._penalty *= factor
        self._side_penalty *= factor
        self._sweeps.run_on()
        return self._loop(callback)

    def _loop(self, callback: Callback | None) -> ADMMOutcome:
        settings = self._settings
        history: dict[str, list[float]] = {}
        changed = 0  # iterations that were done with other penalties, or with a function that stood in
        reason, converged, distance = "the iteration limit was reached", False, math.inf
        self._distance.begin(self.image)
        with interruptible() as interruption:
            for iteration in range(1, settings.max_iterations + 1):
                provisional = self._sweeps.provisional
                values = self._iterate()
                for name, value in values.items():
                    history.setdefault(name, []).append(value)
                if not math.isfinite(values["objective"]):
                    reason = f"the objective is not finite at iteration {iteration}"
                    break
                if provisional:
                    changed = iteration  # another function is being minimised
                    self._distance.begin(self.image, iteration)
                else:
                    distance = self._distance.observe(self.image, iteration, distance)
                    converged = self._is_converged(distance, history, changed)
                if converged:
                    reason = "the map and residuals are within their tolerances"
                elif not provisional and iteration > 1 and values["update"] < settings.update_tolerance:
                    reason, converged = "the update is below its tolerance", True
                vetoed = callback is not None and (
                    callback(IterationState(iteration, settings.max_iterations, values, provisional)) is False
                )
                if converged:
                    break
                if vetoed or interruption.requested:
                    reason = "the callback asked to stop" if vetoed else "interrupted by the user"
                    break
                if self._balance(iteration, values):
                    changed = iteration
        known = self._background is None  # beside one, the map alone does not tell
        return ADMMOutcome(self.image, history, converged, reason, distance if known else math.inf)

    def _iterate(self) -> dict[str, float]:
        """One iteration; returns what is monitored, in ppm."""
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
            size = max(split, self._field_energy if name == "field" else dual, TINY)
            values[f"primal_residual_{name}"] = math.sqrt(primal / size)
            values[f"dual_residual_{name}"] = math.sqrt(split_change / max(dual, TINY))
            if name == "field" and dual <= TINY < fidelity:
                values["dual_residual_field"] = 1.0  # data that do not fit pull: their dual is lost in rounding
        values["update"] = math.sqrt(change / max(norm, TINY))
        values["gradient_penalty"] = float(penalty)
        return values

    def _is_converged(self, distance: float, history: dict[str, list[float]], changed: int) -> bool:
        settings = self._settings
        residual = max(values[-1] for name, values in history.items() if "residual" in name)
        if distance > settings.tolerance or residual > settings.residual_tolerance:
            return False
        # What a map shares with a background moves too slowly for the map to tell, but the objective does.
        return self._background is None or distance_left(history["objective"], changed) <= settings.objective_tolerance

    def _balance(self, iteration: int, values: dict[str, float]) -> bool:
        """Raise or lower penalties where one residual is larger than the other; ever more rarely, to settle.

        Returns whether there was a change.
        """
        if iteration & (iteration - 1):
            return False
        own = self._settings.balance and iteration >= 4
        if own:
            self._penalty *= balancing_factor(values, "gradient")
        first, last = BACKGROUND_BALANCED
        if self._background is None or not self._background.balance or not first <= iteration <= last:
            return own
        self._background.penalty *= balancing_factor(values, self._background.name)
        return True


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
