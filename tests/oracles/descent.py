"""Naive descent for nonlinear dipole inversion, and naive two-step inversion."""

import numpy as np

from .total_variation import shrink


class Inversion:
    """½‖W (exp(i s D x) - exp(i s φ))‖² / s² + ½ damping ‖x‖²; beyond a limit in rad the slope rises as a square's."""

    def __init__(self, kernel, field, weight, scale, damping, limit=np.inf):
        self.kernel, self.field, self.weight, self.scale, self.damping = kernel, field, weight, scale, damping
        self.limit = limit

    def predict(self, x):
        return np.fft.ifftn(self.kernel * np.fft.fftn(x)).real

    def objective(self, x):
        near, beyond = self.parts(x)
        beyond = np.abs(beyond)
        value = 1 - np.cos(near) + np.where(beyond > 0, np.sin(np.abs(near)) * beyond + beyond**2 / 2, 0)
        return np.sum(self.weight**2 * value) / self.scale**2 + self.damping / 2 * np.sum(x**2)

    def gradient(self, x):
        near, beyond = self.parts(x)
        return self.predict(self.weight**2 * (np.sin(near) + beyond) / self.scale) + self.damping * x

    def parts(self, x):
        angle = self.scale * (self.predict(x) - self.field)
        near = np.clip(angle, -self.limit, self.limit)
        return near, angle - near


def gradient_descent(model, x, iterations, step):
    iterates = []
    for _ in range(iterations):
        x = x - step * model.gradient(x)
        iterates.append(x)
    return iterates


def conjugate_gradient(model, x, iterations):
    """Polak and Ribière's directions, restarted where beta is negative; steps for the curvature W²."""
    iterates, direction, old = [], np.zeros_like(x), None
    for _ in range(iterations):
        gradient = model.gradient(x)
        beta = 0 if old is None else max(0, np.vdot(gradient, gradient - old) / np.vdot(old, old))
        direction = beta * direction - gradient
        curvature = np.sum((model.weight * model.predict(direction)) ** 2) + model.damping * np.sum(direction**2)
        x = x - np.vdot(gradient, direction) / curvature * direction
        old = gradient
        iterates.append(x)
    return iterates


def krylov_least_squares(kernel, field, iterations):
    """The x in span{Dφ, D³φ, …} with the smallest ‖D (D x - φ)‖, which LSMR finds: by dense least squares."""
    predict = lambda x: np.fft.ifftn(kernel * np.fft.fftn(x)).real  # noqa: E731
    basis = [predict(field)]
    for _ in range(iterations - 1):
        basis.append(predict(predict(basis[-1])))
    orthonormal = np.linalg.qr(np.stack([b.ravel() / np.linalg.norm(b) for b in basis], axis=1))[0]
    images = np.stack([predict(predict(column.reshape(field.shape))).ravel() for column in orthonormal.T], axis=1)
    coefficients = np.linalg.lstsq(images, predict(field).ravel(), rcond=None)[0]
    return (orthonormal @ coefficients).reshape(field.shape)


def known_frequency_admm(kernel, symbols, known, threshold, alpha, penalty, iterations, relaxation=1.0):
    """Total variation with the frequencies of large |D| near those of a known image; starts from that image."""
    inside = (np.abs(kernel) > threshold).astype(float)
    denominator = inside + penalty * np.sum(np.abs(symbols) ** 2, axis=0)
    denominator[denominator == 0] = np.inf

    def gradient(x):
        return np.fft.ifftn(symbols * np.fft.fftn(x), axes=(1, 2, 3)).real

    z = shrink(gradient(known), alpha / penalty)
    s = gradient(known) - z
    iterates = []
    for _ in range(iterations):
        right = inside * np.fft.fftn(known)
        right = right + penalty * np.sum(np.conj(symbols) * np.fft.fftn(z - s, axes=(1, 2, 3)), axis=0)
        x = np.fft.ifftn(right / denominator).real
        relaxed = relaxation * gradient(x) + (1 - relaxation) * z
        z = shrink(relaxed + s, alpha / penalty)
        s = s + relaxed - z
        iterates.append(x)
    return iterates


def known_frequency_objective(kernel, symbols, known, threshold, alpha, x):
    inside = np.abs(kernel) > threshold
    misfit = np.sum(np.abs(np.fft.fftn(x - known)[inside]) ** 2) / x.size
    return misfit / 2 + alpha * np.abs(np.fft.ifftn(symbols * np.fft.fftn(x), axes=(1, 2, 3)).real).sum()
