"""A small measurement for the variational solvers, and the oracle's model of it."""

import numpy as np

from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.solvers.base import Solver
from qsm_recon.solvers.constant_field import constant_of_field
from qsm_recon.solvers.registry import make_solver
from qsm_recon.units import rad_per_ppm

from .fields import dipole_kernel, filtered
from .variational import Model

VOXEL_SIZE, DIRECTION = (1.0, 1.2, 1.5), (0.2, -0.3, 0.9)
B0, ECHO_TIME = 3.0, 0.020


def periodic_solver(name: str, **parameters) -> Solver:
    """Make a solver on the oracle's grid, which is periodic."""
    return make_solver(name, **{"padding": 0, **parameters})


def centred(field, mask, grid, magnitude=None):
    """A field without the constant that solvers take out; the oracle knows of none."""
    return field - constant_of_field(Problem(field, mask, grid, magnitude=magnitude))


class SmallCase:
    """Field of two blocks with noise on a grid without padding, known in an ellipsoid, with a magnitude image."""

    def __init__(self, shape=(10, 9, 8), whole=False):
        rng = np.random.default_rng(5)
        self.shape = shape
        x, y, z = np.ix_(*[np.linspace(-1, 1, n) for n in shape])
        self.mask = np.ones(shape, bool) if whole else x**2 + y**2 + z**2 < 1.3
        self.truth = np.zeros(shape)
        a, b, c = (n // 4 for n in shape)
        self.truth[a : 2 * a + 1, b : 2 * b + 1, c : 3 * c] = 0.1
        self.truth[2 * a : 3 * a, b : 3 * b, 2 * c : 3 * c + 1] = -0.06
        self.kernel = dipole_kernel("continuous", shape, VOXEL_SIZE, DIRECTION)
        self.field = filtered(self.kernel, self.truth).real + 0.003 * rng.standard_normal(shape)
        self.magnitude = rng.uniform(0.3, 1, shape)
        self.magnitude[a, b] = 0
        self.field = centred(self.field, self.mask, Grid(shape, VOXEL_SIZE, DIRECTION), self.magnitude)

    def problem(self, **changes):
        known = {"field_ppm": self.field, "mask": self.mask, "grid": Grid(self.shape, VOXEL_SIZE, DIRECTION)}
        known |= {"magnitude": self.magnitude, "b0_tesla": B0, "echo_times_s": (ECHO_TIME,)}
        return Problem(**{**known, **changes})

    def scale(self, fidelity):
        """Internal unit of the field per ppm."""
        return rad_per_ppm(B0, ECHO_TIME) if fidelity.startswith("nonlinear") else 1.0

    def model(self, alpha, fidelity="quadratic", regulariser="tv", ratio=2.0, beta=0.0):
        """The oracle's model in internal units; its objective over :meth:`unit` is that which solvers record."""
        scale = self.scale(fidelity)
        weight = np.where(self.mask, self.magnitude, 0)
        weight = weight / np.sqrt(np.mean(weight[self.mask] ** 2))
        alpha = alpha if fidelity.endswith("l1") else alpha * scale
        field = np.where(self.mask, self.field, 0) * scale
        return Model(
            self.kernel, field, weight, alpha, fidelity, regulariser, ratio * alpha, beta, self.mask, VOXEL_SIZE
        )

    def unit(self, fidelity):
        """The objective's internal unit per ppm² or, for l1 fidelities, ppm."""
        return self.scale(fidelity) ** (1 if fidelity.endswith("l1") else 2)
