"""Naive Gauss-Newton with conjugate gradient for edge-weighted total variation, as published for MEDI."""

import numpy as np


def neumann_gradient(x, spacing):
    """Forward differences per mm, zero on the last voxel."""
    parts = []
    for axis, h in enumerate(spacing):
        last = np.take(x, [-1], axis)
        parts.append(np.diff(x, axis=axis, append=last) / h)
    return np.stack(parts)


def neumann_gradient_adjoint(g, spacing):
    """Adjoint of the gradient above."""
    result = np.zeros(g.shape[1:])
    for axis, h in enumerate(spacing):
        n = g.shape[1 + axis]
        flux = np.take(g[axis], range(n - 1), axis) / h
        first, last = [(0, 0)] * 3, [(0, 0)] * 3
        first[axis], last[axis] = (1, 0), (0, 1)
        result += np.pad(flux, first) - np.pad(flux, last)
    return result


class MediModel:
    """0.5 ||w (exp(i D x) - exp(i f))||^2 + alpha sum sqrt((M grad x)^2 + eps^2) + 0.5 beta ||C x||^2, x in rad."""

    def __init__(self, field, weight, kernel, edges, spacing, alpha, eps, linear=False, csf=None, beta=0.0):
        self.field, self.weight, self.kernel, self.edges = field, weight, kernel, edges
        self.spacing, self.alpha, self.eps, self.linear = spacing, alpha, eps, linear
        self.csf, self.beta = csf, beta

    def predict(self, x):
        return np.fft.ifftn(self.kernel * np.fft.fftn(x)).real

    def csf_part(self, x):
        if self.csf is None:
            return np.zeros_like(x)
        return np.where(self.csf, x - x[self.csf].mean(), 0)

    def objective(self, x):
        u = self.predict(x) - self.field
        misfit = 0.5 * u**2 if self.linear else 1 - np.cos(u)
        slope = self.edges * neumann_gradient(x, self.spacing)
        variation = np.sqrt(slope**2 + self.eps**2) - self.eps
        return (
            np.sum(self.weight**2 * misfit)
            + self.alpha * variation.sum()
            + 0.5 * self.beta * np.sum(self.csf_part(x) ** 2)
        )

    def lagged(self, x):
        return self.edges**2 / np.sqrt((self.edges * neumann_gradient(x, self.spacing)) ** 2 + self.eps**2)

    def gradient(self, x):
        u = self.predict(x) - self.field
        residual = self.weight**2 * (u if self.linear else np.sin(u))
        smooth = neumann_gradient_adjoint(self.lagged(x) * neumann_gradient(x, self.spacing), self.spacing)
        return self.predict(residual) + self.alpha * smooth + self.beta * self.csf_part(x)

    def hessian(self, lagged, p):
        smooth = neumann_gradient_adjoint(lagged * neumann_gradient(p, self.spacing), self.spacing)
        return self.predict(self.weight**2 * self.predict(p)) + self.alpha * smooth + self.beta * self.csf_part(p)


def conjugate_gradient(apply, b, tolerance, limit):
    """Textbook conjugate gradient from zero; returns the solution and the number of iterations."""
    x, r, d = np.zeros_like(b), b.copy(), b.copy()
    delta = start = np.vdot(r, r)
    count = 0
    while count < limit and delta > tolerance**2 * start:
        q = apply(d)
        step = delta / np.vdot(d, q)
        x = x + step * d
        r = r - step * q
        old, delta = delta, np.vdot(r, r)
        d = r + delta / old * d
        count += 1
    return x, count


def gauss_newton(model, outer, tolerance=0.01, limit=100):
    """Iterates and numbers of inner iterations."""
    x, iterates, counts = np.zeros(model.field.shape), [], []
    for _ in range(outer):
        lagged = model.lagged(x)
        p, count = conjugate_gradient(lambda d, v=lagged: model.hessian(v, d), -model.gradient(x), tolerance, limit)
        x = x + p
        iterates.append(x)
        counts.append(count)
    return iterates, counts
