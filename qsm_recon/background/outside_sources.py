"""Sources outside the mask: what of a field they explain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.arrays import host
from qsm_recon.engines.conjugate_gradient import ImageConjugateGradient, NormalSystem
from qsm_recon.engines.interrupt import interruptible
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.result import Callback, IterationState, StopReason
from qsm_recon.terms.morphology import NoVariation
from qsm_recon.terms.preconditioner import padded_mask

PROJECTION_ITERATIONS = 30


@dataclass(frozen=True, eq=False)
class Projection:
    """A field explained by sources.

    Parameters
    ----------
    sources
        Susceptibility on the padded grid, ppm; zero inside the mask unless sources there were allowed.
    background
        (nx, ny, nz) field of the sources outside the mask, ppm; zero outside the mask.
    residuals
        Relative to the start, after every conjugate gradient iteration.
    stop_reason
        Why it stopped.
    """

    sources: NDArray
    background: NDArray
    residuals: list[float]
    stop_reason: StopReason


def project_onto_outside(
    operator: DipoleOperator,
    field: NDArray,
    weight: NDArray,
    mask: NDArray[np.bool_],
    iterations: int = PROJECTION_ITERATIONS,
    tolerance: float = 1e-2,
    inside: float = 0.0,
    callback: Callback | None = None,
) -> Projection:
    """Explain a field by sources outside the mask, alone or together with weaker ones inside.

    Parameters
    ----------
    operator
        Dipole operator.
    field
        (nx, ny, nz) field, ppm.
    weight
        (nx, ny, nz) data weight W, zero outside the mask.
    mask
        (nx, ny, nz) the inside.
    iterations, tolerance
        Conjugate gradient iterations at most, and the relative residual to stop at.  Stopping is the only
        regularisation.
    inside
        How strong sources inside are expected to be, relative to those outside.
    callback
        See :data:`qsm_recon.result.Callback`; told ``residual``.

    References
    ----------
    Liu et al., NMR Biomed 24:1129-1136 (2011), doi 10.1002/nbm.1670.
    """
    transform, nz = operator.transform, operator.padded_grid.shape[2]
    squared = transform.load_image(np.square(np.where(mask, weight, 0)))
    system = NormalSystem(transform, operator.kernel, squared, NoVariation(operator.grid.voxel_size_mm))
    within = padded_mask(operator, mask)
    right = transform.load_image(field) * squared
    spectrum = transform.forward(right, transform.empty_spectrum())
    spectrum *= operator.kernel / transform.n_voxels
    transform.inverse(spectrum, right)
    residuals: list[float] = []
    asked: list[StopReason] = []
    expected = np.where(within, np.float32(inside), np.float32(1))
    with interruptible() as interruption:

        def monitor(iteration: int, residual: float) -> bool:
            residuals.append(residual)
            state = IterationState(iteration, iterations, {"residual": residual})
            if callback is not None and callback(state) is False:
                asked.append(StopReason.CALLBACK)
            elif interruption.requested:
                asked.append(StopReason.INTERRUPTED)
            return bool(asked)

        solution, _ = ImageConjugateGradient(system, expected).solve(right, tolerance, iterations, monitor=monitor)
    sources = host(solution[..., :nz]).copy()
    background = operator.forward_padded(np.where(within, 0, sources))
    reached = residuals[-1] <= tolerance if residuals else True
    reason = StopReason.RESIDUAL if reached else (*asked, StopReason.ITERATION_LIMIT)[0]
    return Projection(sources, np.where(mask, background, 0), residuals, reason)
