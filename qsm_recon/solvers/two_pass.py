"""Two passes: one over the whole mask, one without unreliable voxels, whose errors then reach no other.

References
----------
Stewart et al., Magn Reson Med 87:1289-1300 (2022), doi 10.1002/mrm.29048: QSMxT, which combines two masks so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import DataError, ParameterError
from qsm_recon.field.masking import phase_quality_of
from qsm_recon.problem import Problem
from qsm_recon.result import Callback, Reconstruction, StopReason
from qsm_recon.solvers.base import Solver

SMOOTH_PHASE = 0.6
"""Phase quality below which a voxel is unreliable: noise of 0.4 rad, or a field that bends as much within a voxel."""
NOISY = 8.0
"""Standard deviation of the field above which a voxel is unreliable, in units of the median."""
RELIABLE = 0.5
DARK = 0.1
"""Magnitude below which a voxel is unreliable, in units of the median."""


def reliable_mask(problem: Problem) -> NDArray[np.bool_]:
    """Voxels of the mask whose field can be trusted.

    Left out is what has a reliability below a half (:attr:`qsm_recon.problem.Problem.reliability`), a phase quality
    (:func:`qsm_recon.field.masking.phase_quality`) below 0.6, a noise of the field above eight times the median, or a
    magnitude below a tenth of the median, as far as each is known.

    Parameters
    ----------
    problem
        The measurement; its echoes, noise map or magnitude is needed.

    Raises
    ------
    ParameterError
        If none of them is there.
    DataError
        If no voxel is left.
    """
    if problem.echoes is None and problem.field_noise_ppm is None and problem.magnitude is None:
        raise ParameterError(
            "--two-pass: a field alone does not tell which voxels are unreliable; give its magnitude too (--magnitude)"
        )
    reliable = problem.mask.copy()
    if problem.reliability is not None:
        reliable &= problem.reliability >= RELIABLE
    if problem.echoes is not None:
        reliable &= phase_quality_of(problem.echoes, problem.mask) >= SMOOTH_PHASE
    if problem.field_noise_ppm is not None:
        noise = problem.field_noise_ppm
        reliable &= noise <= NOISY * float(np.median(noise[problem.mask]))
    if problem.magnitude is not None:
        reliable &= problem.magnitude >= DARK * float(np.median(problem.magnitude[problem.mask]))
    if not reliable.any():
        raise DataError("--two-pass: no voxel of the mask is reliable; check magnitude and phase, or leave it out")
    return reliable


def words_of_two_passes(facts: Mapping[str, Any]) -> str:
    """What the details of a reconstruction in two passes say, as a sentence."""
    if facts.get("stopped_in_the_first"):
        return "Stopped in the first of two passes."
    return f"Two passes: {facts['unreliable_voxels']} unreliable voxels are those of the first."


def solve_in_two_passes(solver: Solver, problem: Problem, callback: Callback | None = None) -> Reconstruction:
    """Reconstruct with the whole mask and without its unreliable voxels, and fill the holes of the second map.

    Parameters
    ----------
    solver
        The method of both passes.
    problem
        The measurement.
    callback
        See :data:`qsm_recon.result.Callback`.

    Returns
    -------
    Reconstruction
        The second pass on reliable voxels, the first one, shifted to the same mean there, on the others.  History and
        the like are those of the second pass; it has converged where both have.  The first pass alone where a
        callback or Ctrl-C ended it.

    Raises
    ------
    ParameterError, DataError
        See :func:`reliable_mask`.
    """
    reliable = reliable_mask(problem)
    whole = solver.solve(problem, callback=callback)
    left_out = int(np.count_nonzero(problem.mask & ~reliable))
    if left_out == 0:
        return whole.with_details(two_pass={"unreliable_voxels": 0})
    if whole.stop_reason in (StopReason.CALLBACK, StopReason.INTERRUPTED):
        return whole.with_details(two_pass={"unreliable_voxels": left_out, "stopped_in_the_first": True})
    careful = solver.solve(replace(problem, mask=reliable), callback=callback)
    shared = whole.mask & careful.mask
    holes = whole.mask & ~careful.mask
    shift = float(np.mean((careful.susceptibility_ppm - whole.susceptibility_ppm)[shared], dtype=np.float64))
    fitted = None
    if whole.fitted_field_ppm is not None and careful.fitted_field_ppm is not None:
        fitted = np.where(holes, whole.fitted_field_ppm, careful.fitted_field_ppm)
    susceptibility = np.where(holes, whole.susceptibility_ppm + np.float32(shift), careful.susceptibility_ppm)
    return replace(
        careful,
        susceptibility_ppm=susceptibility.astype(np.float32),
        fitted_field_ppm=fitted,
        mask=whole.mask | careful.mask,
        converged=whole.converged and careful.converged,
        stop_reason=careful.stop_reason if whole.converged else f"first pass: {whole.stop_reason}",
        timings_s={**careful.timings_s, "solve": whole.timings_s["solve"] + careful.timings_s["solve"]},
        images={**careful.images, "reliable_mask": reliable},
    ).with_details(
        two_pass={
            "unreliable_voxels": left_out,
            "first_pass_iterations": whole.iterations,
            "shift_ppm": shift,
        }
    )
