"""Sweeps over the voxels of a block of planes, each of which is given the scalar step of a data fidelity.

The splitting is z ≈ D χ with the scaled dual s.  A step tells what becomes of one voxel; a sweep does it for all
and sums what the engine watches.  They are inlined: a kernel of one line that names its step compiles to one loop.

A step has the arguments

    field, stored, measured, weight, dual_scale, penalty, relaxation, numbers

(D χ, the number that holds the state, φ, W² or W, 1 / mu of the iteration before or 0 where the dual is still zero, mu,
the factor of over-relaxation, and whatever the fidelity has of its own) and returns

    z, the former z, s, the number to store, and the value of the fidelity at D χ.

It is written with :mod:`qsm_recon.backend.scalars`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from qsm_recon.backend.jit import inline

Scalar = Any  # a number of either precision
Sums = tuple[float, float, float, float, float]


@inline
def sweep(
    step: Callable[..., Any],
    predicted: NDArray,
    state: NDArray,
    measured: NDArray,
    weight: NDArray,
    first: int,
    nz: int,
    dual_scale: Scalar,
    penalty: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
) -> Sums:
    """Take a step at every voxel.

    Parameters
    ----------
    step
        See above.
    predicted
        (planes, ny, stride) D χ; replaced by z - s.
    state
        (nx, ny, stride) what is stored, updated.
    measured, weight
        (nx, ny, stride) φ and the weight.
    first
        Plane of the volumes that the block starts at.
    nz
        Number of voxels that count along the last axis.
    dual_scale, penalty, relaxation, numbers
        Handed to the step.

    Returns
    -------
    tuple of float
        Sums of the fidelity at D χ, |D χ - z|², |z - z_old|², |z|² and |s|².
    """
    planes, ny = predicted.shape[0], predicted.shape[1]
    fidelity = primal = change = split_norm = dual_norm = 0.0
    for i in range(planes):
        for j in range(ny):
            p, u, phi, w = predicted[i, j], state[first + i, j], measured[first + i, j], weight[first + i, j]
            zero = p[0] - p[0]
            f_row = p_row = c_row = z_row = s_row = zero
            for k in range(nz):
                field = p[k]
                new, old, dual, stored, value = step(
                    field, u[k], phi[k], w[k], dual_scale, penalty, relaxation, numbers
                )
                f_row += value
                p_row += (field - new) * (field - new)
                c_row += (new - old) * (new - old)
                z_row += new * new
                s_row += dual * dual
                u[k] = stored
                p[k] = new - dual
            fidelity += f_row
            primal += p_row
            change += c_row
            split_norm += z_row
            dual_norm += s_row
    return fidelity, primal, change, split_norm, dual_norm


@inline
def weighted_span(weight: NDArray, nz: int) -> tuple[int, int]:
    """Where the weights of a row that are not zero begin and end (exclusive)."""
    begin, end = 0, nz
    while begin < nz and weight[begin] == 0:
        begin += 1
    while end > begin and weight[end - 1] == 0:
        end -= 1
    return begin, end


@inline
def _follow(
    p: NDArray, u: NDArray, phi: NDArray, relaxation: Scalar, of_residual: bool
) -> tuple[Scalar, Scalar, Scalar]:
    """Step of voxels without weight: z is the relaxed D χ, s = 0; returns |D χ - z|², |z - z_old|² and |z|²."""
    zero = relaxation - relaxation
    primal = change = norm = zero
    for k in range(p.size):
        offset = phi[k] if of_residual else zero
        field, old = p[k], u[k] + offset
        new = old + relaxation * (field - old)
        primal += (field - new) * (field - new)
        change += (new - old) * (new - old)
        norm += new * new
        u[k] = new - offset
        p[k] = new
    return primal, change, norm


@inline
def weighted_sweep(
    step: Callable[..., Any],
    predicted: NDArray,
    state: NDArray,
    measured: NDArray,
    weight: NDArray,
    first: int,
    nz: int,
    dual_scale: Scalar,
    penalty: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
    of_residual: bool,
) -> Sums:
    """The same for costly steps: what lies before the first and behind the last weight of a row needs none.

    There z is the relaxed D χ and s = 0.  ``of_residual`` tells that what is stored is z - φ; else it is z.
    """
    planes, ny = predicted.shape[0], predicted.shape[1]
    fidelity = primal = change = split_norm = dual_norm = 0.0
    for i in range(planes):
        for j in range(ny):
            p, u, phi, w = predicted[i, j], state[first + i, j], measured[first + i, j], weight[first + i, j]
            zero = p[0] - p[0]
            begin, end = weighted_span(w, nz)
            f_row = s_row = zero
            p_row, c_row, z_row = _follow(p[:begin], u[:begin], phi[:begin], relaxation, of_residual)
            p_end, c_end, z_end = _follow(p[end:nz], u[end:nz], phi[end:nz], relaxation, of_residual)
            p, u, phi, w = p[begin:end], u[begin:end], phi[begin:end], w[begin:end]
            for k in range(end - begin):
                field = p[k]
                new, old, dual, stored, value = step(
                    field, u[k], phi[k], w[k], dual_scale, penalty, relaxation, numbers
                )
                f_row += value
                p_row += (field - new) * (field - new)
                c_row += (new - old) * (new - old)
                z_row += new * new
                s_row += dual * dual
                u[k] = stored
                p[k] = new - dual
            fidelity += f_row
            primal += p_row + p_end
            change += c_row + c_end
            split_norm += z_row + z_end
            dual_norm += s_row
    return fidelity, primal, change, split_norm, dual_norm


@inline
def proximal_sweep(
    proximal: Callable[..., Any],
    function: Callable[..., Any],
    predicted: NDArray,
    state: NDArray,
    measured: NDArray,
    weight: NDArray,
    first: int,
    nz: int,
    penalty: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
) -> Sums:
    """Take the step that follows from a proximal map: the sweep for a convex function f of the residual.

    ``proximal(r, t, numbers)`` is the minimiser d of t f(d) + ½ (d - r)², and ``function(d, numbers)`` is f.  What is
    stored is r, which holds both: z - φ = d and s = r - d.  So mu must be the same in all iterations.
    """
    planes, ny = predicted.shape[0], predicted.shape[1]
    fidelity = primal = change = split_norm = dual_norm = 0.0
    for i in range(planes):
        for j in range(ny):
            p, u, phi, w = predicted[i, j], state[first + i, j], measured[first + i, j], weight[first + i, j]
            zero = p[0] - p[0]
            f_row = p_row = c_row = z_row = s_row = zero
            for k in range(nz):
                residual, threshold = p[k] - phi[k], w[k] / penalty
                old = proximal(u[k], threshold, numbers)
                r = old + relaxation * (residual - old) + (u[k] - old)
                new = proximal(r, threshold, numbers)
                dual = r - new
                f_row += w[k] * function(residual, numbers)
                p_row += (residual - new) * (residual - new)
                c_row += (new - old) * (new - old)
                z_row += (phi[k] + new) * (phi[k] + new)
                s_row += dual * dual
                u[k] = r
                p[k] = phi[k] + new - dual
            fidelity += f_row
            primal += p_row
            change += c_row
            split_norm += z_row
            dual_norm += s_row
    return fidelity, primal, change, split_norm, dual_norm
