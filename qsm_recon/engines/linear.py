"""Conjugate gradient for any symmetric positive operator on arrays, with a preconditioner, progress and Ctrl-C."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qsm_recon.engines.interrupt import interruptible
from qsm_recon.result import Callback, IterationState, StopReason

Operator = Callable[[NDArray], NDArray]


@dataclass(eq=False)
class LinearSolution:
    """Where a linear solve ended.

    Parameters
    ----------
    values
        The solution.
    stop_reason
        Why it stopped.
    residuals
        Norm of the (preconditioned) residual relative to its start, after every iteration.
    """

    values: NDArray[np.floating]
    stop_reason: StopReason = StopReason.ITERATION_LIMIT
    residuals: list[float] = field(default_factory=list)

    @property
    def converged(self) -> bool:
        """Whether the residual fell to the tolerance."""
        return self.stop_reason.converged

    @property
    def iterations(self) -> int:
        """Number of iterations."""
        return len(self.residuals)


def inner_product(a: NDArray, b: NDArray) -> float:
    """Σ a b, summed in double precision."""
    return float(np.einsum("i,i->", a.ravel(), b.ravel(), dtype=np.float64))


def solve_symmetric(
    operator: Operator,
    right: NDArray,
    *,
    tolerance: float,
    max_iterations: int,
    precondition: Operator | None = None,
    callback: Callback | None = None,
) -> LinearSolution:
    """Solve A x = b from x = 0 by (preconditioned) conjugate gradient.

    Parameters
    ----------
    operator
        A, symmetric and positive semidefinite with b in its range.
    right
        b, any shape; its type is that of the arithmetic.
    tolerance
        Stop when the residual's norm (after preconditioning) has fallen to this fraction of its start.
    max_iterations
        The most iterations.
    precondition
        Symmetric positive approximation of the inverse of A.
    callback
        See :data:`qsm_recon.result.Callback`; told ``residual``.
    """
    solution, residual = np.zeros_like(right), right.copy()
    scaled = residual if precondition is None else precondition(residual)
    direction = scaled.copy()
    delta = first = inner_product(residual, scaled)
    found = LinearSolution(solution)
    if not first > 0:
        found.stop_reason = StopReason.NO_RESIDUAL
        return found
    with interruptible() as interruption:
        for iteration in range(1, max_iterations + 1):
            image = operator(direction)
            curvature = inner_product(direction, image)
            if not curvature > 0:
                # Rounding has used up what the operator sees of the right-hand side.
                found.stop_reason = StopReason.NO_DESCENT
                break
            step = right.dtype.type(delta / curvature)
            solution += step * direction
            residual -= step * image
            scaled = residual if precondition is None else precondition(residual)
            previous, delta = delta, inner_product(residual, scaled)
            found.residuals.append(math.sqrt(max(delta, 0.0) / first))
            state = IterationState(iteration, max_iterations, {"residual": found.residuals[-1]})
            vetoed = callback is not None and callback(state) is False
            if found.residuals[-1] <= tolerance:
                found.stop_reason = StopReason.RESIDUAL
                break
            if vetoed or interruption.requested:
                found.stop_reason = StopReason.CALLBACK if vetoed else StopReason.INTERRUPTED
                break
            direction *= right.dtype.type(delta / previous)
            direction += scaled
    return found
