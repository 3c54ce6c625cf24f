"""Total variation with a quadratic or nonlinear fidelity: naive ADMM, the objective, and an independent minimiser."""

from dataclasses import dataclass

import numpy as np
import scipy.optimize

from .fields import difference_symbols


@dataclass
class Model:
    """F(D x) + alpha ‖w ∇x‖₁ with F = ½‖W (D x - φ)‖² or, ``nonlinear``, ½‖W (exp(i D x) - exp(i φ))‖²."""

    kernel: np.ndarray
    field: np.ndarray
    weight: np.ndarray
    alpha: float
    spacing: tuple = (1.0, 1.0, 1.0)
    voxel_weights: float | np.ndarray = 1.0
    nonlinear: bool = False

    def __post_init__(self):
        self.symbols = np.stack(difference_symbols(self.field.shape, self.spacing))

    def predict(self, x):
        return np.fft.ifftn(self.kernel * np.fft.fftn(x)).real

    def gradient(self, x):
        return np.fft.ifftn(self.symbols * np.fft.fftn(x), axes=(1, 2, 3)).real

    def gradient_adjoint(self, vector):
        return np.fft.ifftn(np.conj(self.symbols) * np.fft.fftn(vector, axes=(1, 2, 3)), axes=(1, 2, 3)).real.sum(0)

    def fidelity(self, x):
        difference = self.predict(x) - self.field
        misfit = np.abs(np.exp(1j * difference) - 1) if self.nonlinear else difference
        return 0.5 * np.sum((self.weight * misfit) ** 2)

    def fidelity_gradient(self, x):
        difference = self.predict(x) - self.field
        return self.predict(self.weight**2 * (np.sin(difference) if self.nonlinear else difference))

    def variation(self, x):
        return np.sum(self.voxel_weights * np.abs(self.gradient(x)))

    def objective(self, x):
        return self.fidelity(x) + self.alpha * self.variation(x)


def shrink(values, threshold):
    return np.sign(values) * np.maximum(np.abs(values) - threshold, 0)


def field_step(q, field, squared_weight, penalty, nonlinear):
    """Minimise F(z) + ½ penalty (z - q)²: closed form, or bisection (unique while W² <= penalty)."""
    if not nonlinear:
        return (squared_weight * field + penalty * q) / (squared_weight + penalty)
    low, high = q - squared_weight / penalty, q + squared_weight / penalty
    for _ in range(70):
        middle = (low + high) / 2
        below = squared_weight * np.sin(middle - field) + penalty * (middle - q) < 0
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def admm(model, iterations, mu1, mu2=1.0, relaxation=1.0):
    """The susceptibility after each iteration of the published loop, with over-relaxation."""
    squared_weight = model.weight**2
    denominator = mu2 * np.abs(model.kernel) ** 2 + mu1 * np.sum(np.abs(model.symbols) ** 2, axis=0)
    at_zero = denominator[0, 0, 0]
    denominator[0, 0, 0] = at_zero or 1.0
    z1 = s1 = np.zeros((3, *model.field.shape))
    z2, s2 = squared_weight * model.field / (squared_weight + mu2), np.zeros(model.field.shape)
    iterates = []
    for _ in range(iterations):
        right = mu1 * np.fft.fftn(model.gradient_adjoint(z1 - s1))
        right += mu2 * np.conj(model.kernel) * np.fft.fftn(z2 - s2)
        spectrum = right / denominator
        if at_zero == 0:
            spectrum[0, 0, 0] = 0
        x = np.fft.ifftn(spectrum).real
        relaxed = relaxation * model.gradient(x) + (1 - relaxation) * z1
        z1 = shrink(relaxed + s1, model.voxel_weights * model.alpha / mu1)
        s1 = s1 + relaxed - z1
        relaxed = relaxation * model.predict(x) + (1 - relaxation) * z2
        z2 = field_step(relaxed + s2, model.field, squared_weight, mu2, model.nonlinear)
        s2 = s2 + relaxed - z2
        iterates.append(x)
    return iterates


def minimum_bounds(model, smoothing, iterations=2000):
    """Bounds below and above on the smallest objective, by a quasi-Newton method on a smoothed objective.

    With |g| replaced by sqrt(g² + e²) - e, which is below |g| by e at most, the smoothed minimum is a lower bound
    on the true one, and the true objective at the smoothed minimiser is an upper bound.  (A bound below only where
    the minimisation has come to its end and the fidelity is convex in the region concerned.)
    """
    shape = model.field.shape
    x = np.zeros(model.field.size)
    for level in (100 * smoothing, 10 * smoothing, smoothing):

        def value_and_gradient(flat, level=level):
            x = flat.reshape(shape)
            g = model.gradient(x)
            root = np.sqrt(g**2 + level**2)
            value = model.fidelity(x) + model.alpha * np.sum(model.voxel_weights * (root - level))
            slope = model.alpha * model.gradient_adjoint(model.voxel_weights * g / root)
            return value, (model.fidelity_gradient(x) + slope).ravel()

        options = {"maxiter": iterations, "maxfun": 2 * iterations, "ftol": 1e-10, "gtol": 1e-10, "maxcor": 20}
        found = scipy.optimize.minimize(value_and_gradient, x, jac=True, method="L-BFGS-B", options=options)
        x = found.x
    return found.fun, model.objective(x.reshape(shape))
