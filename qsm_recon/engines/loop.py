"""The loop that all iterative engines run in: history, stopping, callbacks and Ctrl-C, and where it ends."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from numpy.typing import NDArray

from qsm_recon.backend.memory import return_free_memory
from qsm_recon.engines.interrupt import Interruption, interruptible
from qsm_recon.result import Callback, IterationState, StopReason


@dataclass(eq=False)
class Outcome:
    """Where a loop ended: χ in a padded image buffer (unit of the field), history, and why it stopped.

    ``distance`` is the estimated distance of χ from its limit, relative to its norm; infinite where none could be told.
    """

    image: NDArray
    history: dict[str, list[float]]
    stop_reason: StopReason
    distance: float = math.inf

    @property
    def converged(self) -> bool:
        """Whether a stopping rule was met."""
        return self.stop_reason.converged

    @property
    def iterations(self) -> int:
        """How many there were."""
        return len(self.history["objective"])


class Loop(ABC):
    """An iteration, step by step; :meth:`_loop` runs it.

    A step gives what is monitored, ``objective`` and ``update`` among it, one number each.
    """

    @property
    @abstractmethod
    def image(self) -> NDArray:
        """Current χ in a padded image buffer, in the unit of the field."""

    @property
    def provisional(self) -> bool:
        """Whether another function than the one at the end is minimised in the next step, which then ends no run."""
        return False

    @abstractmethod
    def _step(self, iteration: int, interruption: Interruption) -> dict[str, float]:
        """Take a step; returns what is monitored.  A long one looks whether it is interrupted."""

    @abstractmethod
    def _reason_to_stop(
        self, iteration: int, values: dict[str, float], history: dict[str, list[float]], provisional: bool
    ) -> StopReason | None:
        """Say which rule the last step met; None where the loop goes on."""

    def _prepare(self, iteration: int, last: dict[str, float]) -> None:  # noqa: B027
        """Change what is to be changed before a step; ``last`` is what the one before gave, empty at first."""

    def _distance_left(self) -> float:
        """Estimated distance of χ from its limit; infinite where none is told."""
        return math.inf

    def _loop(self, max_iterations: int, callback: Callback | None) -> Outcome:
        """Iterate until a stopping rule, the iteration limit, a callback's veto or Ctrl-C."""
        history: dict[str, list[float]] = {}
        values: dict[str, float]
        reason, values = StopReason.ITERATION_LIMIT, {}
        return_free_memory()  # what was set up with; from here on buffers stay
        with interruptible() as interruption:
            for iteration in range(1, max_iterations + 1):
                self._prepare(iteration, values)
                provisional = self.provisional
                values = self._step(iteration, interruption)
                for name, value in values.items():
                    history.setdefault(name, []).append(value)
                if not math.isfinite(values["objective"]):
                    reason = StopReason.NOT_FINITE
                    break
                found = self._reason_to_stop(iteration, values, history, provisional)
                vetoed = callback is not None and (
                    callback(IterationState(iteration, max_iterations, values, provisional)) is False
                )
                if found is not None:
                    reason = found
                    break
                if vetoed or interruption.requested:
                    reason = StopReason.CALLBACK if vetoed else StopReason.INTERRUPTED
                    break
        return Outcome(self.image, history, reason, self._distance_left())
