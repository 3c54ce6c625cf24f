"""What comes out of a solver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import ParameterError
from qsm_recon.summary import html_table, one_line, sizes, spread


class StopReason(str, Enum):
    """Why an iteration stopped; as text, in words."""

    CLOSED_FORM = "closed form"
    ALL_DONE = "all iterations were done"
    MAP = "the map and residuals are within their tolerances"
    UPDATE = "the update is below its tolerance"
    CONE = "amplitudes near the zero cone of the dipole kernel have grown to those further away"
    RESIDUAL = "the residual is below its tolerance"
    NO_RESIDUAL = "the residual is zero"
    NO_DESCENT = "no descent direction is left"
    COSTS = "costs have settled"
    ITERATION_LIMIT = "the iteration limit was reached"
    NOT_FINITE = "the objective is not finite"
    CALLBACK = "the callback asked to stop"
    INTERRUPTED = "interrupted by the user"

    def __str__(self) -> str:
        return self.value

    @property
    def converged(self) -> bool:
        """Whether a stopping rule was met."""
        return self not in (
            StopReason.ITERATION_LIMIT, StopReason.NOT_FINITE, StopReason.CALLBACK, StopReason.INTERRUPTED,
        )  # fmt: skip

    @property
    def asked_for(self) -> bool:
        """Whether someone ended it: a callback, or Ctrl-C."""
        return self in (StopReason.CALLBACK, StopReason.INTERRUPTED)


def heed(reason: str) -> None:
    """Raise KeyboardInterrupt where Ctrl-C ended a step that is only a means: there is no result to give back.

    Parameters
    ----------
    reason
        Why it stopped; a method of another package may have words of its own.
    """
    if reason == StopReason.INTERRUPTED:
        raise KeyboardInterrupt


@dataclass(frozen=True)
class IterationState:
    """What a callback is told after every iteration.

    Parameters
    ----------
    iteration
        Number of iterations done.
    max_iterations
        The most there will be.
    values
        Monitored numbers of this iteration by name, such as ``objective`` and ``primal_residual``.
    provisional
        Whether another function was minimised in this iteration than at the end.
    """

    iteration: int
    max_iterations: int
    values: dict[str, float]
    provisional: bool = False


Callback = Callable[[IterationState], bool | np.bool_ | None]
"""Called after every iteration; returning False stops the solver, which then returns what it has."""


def plainly_answered(callback: Callback | None) -> Callback | None:
    """Return a callback whose answer is Python's False where it is numpy's, as a comparison of arrays gives it.

    Raises
    ------
    ParameterError
        If it cannot be called.
    """
    if callback is None:
        return None
    if not callable(callback):
        raise ParameterError(f"callback: expected a function of an iteration's state, found {callback!r}")

    def answer(state: IterationState) -> bool | None:
        given = callback(state)
        return bool(given) if isinstance(given, np.bool_) else given

    return answer


def provisionally(callback: Callback | None) -> Callback | None:
    """Return a callback that is told of iterations as provisional ones."""
    return None if callback is None else lambda state: callback(replace(state, provisional=True))


@dataclass(frozen=True, eq=False, repr=False)
class Reconstruction:
    """A susceptibility map and how it came about.

    Parameters
    ----------
    susceptibility_ppm
        (nx, ny, nz) float32, zero outside the mask.
    mask
        (nx, ny, nz) the mask that the result covers.
    solver
        Name of the algorithm.
    parameters
        Its parameters by name, as used.
    converged
        Whether the stopping rule was met (always true for a closed form).
    stop_reason
        Why it stopped: a :class:`StopReason`, or words.
    iterations
        Number of iterations; 0 for a closed form.
    history
        Monitored numbers by name, one entry per iteration.
    timings_s
        Seconds by stage.
    details
        Further facts for the report, such as the effective weights.
    images
        Further maps by name, such as a harmonic background field (ppm).
    fitted_field_ppm
        (nx, ny, nz) field of the susceptibility before it was masked, and of what else the method fitted, in ppm; zero
        outside the mask.  The field less this is what the method left unexplained.
    """

    susceptibility_ppm: NDArray[np.float32]
    mask: NDArray[np.bool_]
    solver: str
    parameters: dict[str, Any]
    converged: bool
    stop_reason: str
    iterations: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    timings_s: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    images: dict[str, NDArray] = field(default_factory=dict)
    fitted_field_ppm: NDArray[np.float32] | None = None

    def with_details(self, **facts: Any) -> Reconstruction:
        """Return the same reconstruction with further facts for the report."""
        from dataclasses import replace

        return replace(self, details={**self.details, **facts})

    def __repr__(self) -> str:
        facts = [f"{sizes(self.susceptibility_ppm.shape)} voxels", f"χ from {self._range()}", self._ending()]
        return one_line("Reconstruction", self.solver, facts)

    def _repr_html_(self) -> str:
        rows = {
            "voxels": f"{sizes(self.susceptibility_ppm.shape)}, {int(self.mask.sum())} in the mask",
            "susceptibility": f"{self._range()} (1st to 99th percentile in the mask)",
            "parameters": ", ".join(
                f"{name}={_plainly(value)}" for name, value in self.parameters.items() if value is not None
            ),
            "ended": self._ending(),
            "seconds": ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.timings_s.items()),
            "further maps": ", ".join(self.images),
            "warnings": "; ".join(map(str, self.details.get("warnings", []))),
        }
        return html_table(f"Reconstruction by {self.solver}", {name: text for name, text in rows.items() if text})

    def _range(self) -> str:
        return f"{spread(self.susceptibility_ppm[self.mask])} ppm"

    def _ending(self) -> str:
        steps = f" after {self.iterations} iterations" if self.iterations else ""
        return f"converged{steps}" if self.converged else f"NOT CONVERGED{steps}: {self.stop_reason}"


def _plainly(value: Any) -> str:
    """A parameter as text; an array by its shape."""
    if isinstance(value, np.ndarray):
        return f"array of {sizes(value.shape)}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def referenced(
    susceptibility_ppm: NDArray[np.floating], mask: NDArray[np.bool_], region: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    """Shift a map so that its mean over a region is zero, and mask it.

    Parameters
    ----------
    susceptibility_ppm
        (nx, ny, nz) map in ppm.
    mask
        Voxels that the result covers; zero outside.
    region
        Zero-reference region; None leaves the map as the solver returned it.
    """
    offset = 0.0 if region is None else float(susceptibility_ppm[region].mean(dtype=np.float64))
    return np.where(mask, susceptibility_ppm - np.float32(offset), np.float32(0)).astype(np.float32)
