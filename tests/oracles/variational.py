"""All fidelities, regularisers and the weakly harmonic background: naive ADMM with a dense solve per frequency."""

from dataclasses import dataclass, field

import numpy as np
import scipy.optimize

from .fields import difference_symbols
from .total_variation import field_step, shrink

PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
COUNTS = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])[:, None, None, None]
"""How often each component of a symmetric tensor counts."""


KNEE = 0.08


def transformed(images):
    return np.fft.fftn(images, axes=(-3, -2, -1))


def back(spectra):
    return np.fft.ifftn(spectra, axes=(-3, -2, -1)).real


@dataclass
class Model:
    """fidelity(D x + h) + alpha1 ‖w (∇x - v)‖₁ + alpha0 ‖ε(v)‖₁ + ½ beta ‖M Λ h‖²; v for ``tgv``, h where beta > 0."""

    kernel: np.ndarray
    field: np.ndarray
    weight: np.ndarray
    alpha1: float
    fidelity: str = "quadratic"
    regulariser: str = "tv"
    alpha0: float = 0.0
    beta: float = 0.0
    mask: np.ndarray | None = None
    spacing: tuple = (1.0, 1.0, 1.0)
    voxel_weights: float | np.ndarray = 1.0
    rows: np.ndarray = field(init=False)

    def __post_init__(self):
        shape = self.field.shape
        self.symbols = np.stack(difference_symbols(shape, self.spacing))
        self.laplacian = np.sum(np.abs(self.symbols) ** 2, axis=0)
        # Rows: ∇x - v (3), ε(v) (6), D x + h, Λh; columns: x, v (3), h.
        rows = np.zeros((11, 5, *shape), complex)
        for i in range(3):
            rows[i, 0], rows[i, 1 + i] = self.symbols[i], -1
        for row, (i, j) in enumerate(PAIRS, start=3):
            rows[row, 1 + i] += self.symbols[j] / 2
            rows[row, 1 + j] += self.symbols[i] / 2
        rows[9, 0], rows[9, 4], rows[10, 4] = self.kernel, 1, self.laplacian
        if self.regulariser == "tv":
            rows[:, 1:4] = 0
        if self.beta == 0:
            rows[:, 4] = 0
        self.rows = rows

    def parts(self, unknowns):
        """∇x - v, ε(v), D x + h and Λh of the stacked unknowns (x, v, h)."""
        values = back(np.einsum("rc...,c...->r...", self.rows, transformed(unknowns)))
        return values[:3], values[3:9], values[9], values[10]

    def solution_matrices(self, mu1, mu0, mu2, muh):
        """Per frequency, from wanted parts to the unknowns whose parts are nearest; the smallest where undetermined."""
        weights = np.concatenate([np.full(3, mu1), mu0 * COUNTS.ravel(), [mu2, muh]])
        rows = np.moveaxis(self.rows, (0, 1), (-2, -1))
        adjoint = np.conj(np.swapaxes(rows, -1, -2)) * weights
        return np.linalg.pinv(adjoint @ rows, rcond=1e-13, hermitian=True) @ adjoint

    def misfit(self, predicted):
        difference = predicted - self.field
        size = np.abs(np.exp(1j * difference) - 1) if self.fidelity.startswith("nonlinear") else np.abs(difference)
        if self.fidelity.endswith("l1"):
            return np.sum(self.weight * size)
        if self.fidelity == "huber":
            return np.sum(self.weight**2 * np.where(size < KNEE, size**2 / 2, KNEE * (size - KNEE / 2)))
        return 0.5 * np.sum((self.weight * size) ** 2)

    def objective(self, unknowns):
        gradient, tensor, predicted, laplacian = self.parts(unknowns)
        value = self.misfit(predicted) + self.alpha1 * np.sum(self.voxel_weights * np.abs(gradient))
        if self.regulariser == "tgv":
            value += self.alpha0 * np.sum(COUNTS * np.abs(tensor))
        if self.beta:
            value += 0.5 * self.beta * np.sum((self.mask * laplacian) ** 2)
        return value

    def field_step(self, q, penalty):
        """Minimise fidelity(z) + ½ penalty (z - q)²."""
        if self.fidelity == "l1":
            return self.field + shrink(q - self.field, self.weight / penalty)
        if self.fidelity == "nonlinear-l1":
            return self.field + chord_step(q - self.field, self.weight / penalty)
        if self.fidelity == "huber":
            return self.field + huber_step(q - self.field, self.weight**2 / penalty)
        return field_step(q, self.field, self.weight**2, penalty, self.fidelity == "nonlinear")


def huber_step(r, threshold):
    """Minimise threshold h(d) + ½ (d - r)², h quadratic up to KNEE and linear beyond, by bisection of its slope."""
    low, high = np.zeros_like(r), np.abs(r)
    for _ in range(70):
        middle = (low + high) / 2
        below = threshold * np.minimum(middle, KNEE) + middle - np.abs(r) < 0
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.sign(r) * (low + high) / 2


def chord_step(r, threshold):
    """Minimise threshold |exp(id) - 1| + ½ (d - r)² by bisection, for thresholds below 2 (convex)."""
    turn = 2 * np.pi * np.rint(r / (2 * np.pi))
    size = np.abs(r - turn)
    low, high = np.zeros_like(r), size
    for _ in range(70):
        middle = (low + high) / 2
        below = threshold * np.cos(middle / 2) + middle - size < 0
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return turn + np.sign(r - turn) * np.where(size > threshold, (low + high) / 2, 0)


def admm(model, iterations, mu1, mu0, mu2, muh, relaxation=1.0, changes=None):
    """The unknowns (x, v, h) after each iteration, from nothing.

    ``changes`` gives, for the iteration after which they come, factors on (mu1 and mu0, muh).  The unscaled duals stay.
    """
    shape = model.field.shape
    splits, duals = np.zeros((11, *shape)), np.zeros((11, *shape))
    splits[9] = model.field
    if not model.fidelity.endswith("l1") and model.fidelity != "huber":
        splits[9] *= model.weight**2 / (model.weight**2 + mu2)
    decay = 0 if model.mask is None else model.beta * model.mask
    matrices, factors = model.solution_matrices(mu1, mu0, mu2, muh), (1.0, 1.0)
    iterates = []
    for iteration in range(1, iterations + 1):
        unknowns = back(np.einsum("...cr,r...->c...", matrices, transformed(splits - duals)))
        if factors != (1.0, 1.0):  # penalties count from the splittings on; the unknowns were still of the old ones
            mu1, mu0, muh = factors[0] * mu1, factors[0] * mu0, factors[1] * muh
            duals[:9] /= factors[0]
            duals[10] /= factors[1]
            matrices = model.solution_matrices(mu1, mu0, mu2, muh)
        factors = (changes or {}).get(iteration, (1.0, 1.0))
        gradient, tensor, predicted, laplacian = model.parts(unknowns)
        parts = np.concatenate([gradient, tensor, predicted[None], laplacian[None]])
        q = relaxation * parts + (1 - relaxation) * splits + duals
        splits = np.concatenate(
            [
                shrink(q[:3], model.voxel_weights * model.alpha1 / mu1),
                shrink(q[3:9], model.alpha0 / mu0),
                model.field_step(q[9], mu2)[None],
                (muh * q[10] / (muh + decay))[None],
            ]
        )
        duals = q - splits
        iterates.append(unknowns)
    return iterates


def smoothed_minimum(model, smoothing, iterations=1000):
    """Bounds below and above on the smallest objective of a convex model, by a quasi-Newton method.

    With |g| replaced by sqrt(g² + e²) - e, which is below |g| by e at most, the smoothed minimum is a lower bound
    on the true one (where the minimisation has come to its end), and the objective at its minimiser an upper bound.
    """
    unknowns = [0, *([1, 2, 3] if model.regulariser == "tgv" else []), *([4] if model.beta else [])]
    shape = model.field.shape
    factors = np.concatenate(
        [
            np.broadcast_to(model.alpha1 * np.asarray(model.voxel_weights), (3, *shape)),
            model.alpha0 * np.broadcast_to(COUNTS, (6, *shape)) * (model.regulariser == "tgv"),
        ]
    )
    adjoint = np.conj(model.rows)
    flat = np.zeros((len(unknowns), *shape))

    def full(flat):
        values = np.zeros((5, *shape))
        values[unknowns] = flat.reshape(len(unknowns), *shape)
        return values

    for level in (100 * smoothing, 10 * smoothing, smoothing):

        def value_and_gradient(flat, level=level):
            gradient, tensor, predicted, laplacian = model.parts(full(flat))
            slopes = np.concatenate([gradient, tensor])
            root = np.sqrt(slopes**2 + level**2)
            difference = predicted - model.field
            if model.fidelity == "l1":
                size = np.sqrt(difference**2 + level**2)
                value, push = np.sum(model.weight * (size - level)), model.weight * difference / size
            else:
                value, push = 0.5 * np.sum((model.weight * difference) ** 2), model.weight**2 * difference
            value += np.sum(factors * (root - level))
            decay = model.beta * laplacian * (0 if model.mask is None else model.mask)
            value += 0.5 * np.sum(decay * laplacian)
            pushes = np.concatenate([factors * slopes / root, push[None], decay[None]])
            back_projected = back(np.einsum("rc...,r...->c...", adjoint, transformed(pushes)))
            return value, back_projected[unknowns].ravel()

        options = {"maxiter": iterations, "maxfun": 2 * iterations, "ftol": 1e-10, "gtol": 1e-10, "maxcor": 20}
        found = scipy.optimize.minimize(value_and_gradient, flat.ravel(), jac=True, method="L-BFGS-B", options=options)
        flat = found.x
    return found.fun, model.objective(full(flat))
