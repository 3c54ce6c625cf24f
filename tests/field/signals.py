"""Multi-echo signals made straight from the formula, for the tests of this folder."""

import numpy as np

from qsm_recon.field import EchoSeries

TIMES = np.array([0.004, 0.012, 0.020, 0.028])
UNEVEN_TIMES = np.array([0.003, 0.0075, 0.0135, 0.022, 0.0345])


def make_echoes(frequency, times=TIMES, initial=0.5, r2star=30.0, m0=1.0, noise=0.0, bipolar=0.0, seed=0, b0=7.0):
    """Return an EchoSeries; frequency, initial, r2star, m0 and bipolar broadcast to one image."""
    maps = np.broadcast_arrays(frequency, initial, r2star, m0, bipolar)
    f, phi0, decay, amplitude, beta = (np.asarray(a, dtype=np.float64)[..., None] for a in maps)
    sign = np.where(np.arange(len(times)) % 2 == 0, 1.0, -1.0)
    phase = phi0 + 2 * np.pi * f * times + sign * beta
    signal = amplitude * np.exp(-decay * times + 1j * phase)
    rng = np.random.default_rng(seed)
    signal = signal + noise * (rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape))
    return EchoSeries(np.abs(signal), np.angle(signal), tuple(times), b0)


def axes(shape):
    """Return coordinates from -1 to 1 along each axis."""
    return np.meshgrid(*[np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape], indexing="ij")


def ball(shape, radius=0.9):
    """Return a ball as a mask."""
    return sum(a**2 for a in axes(shape)) < radius**2


def wrapped(angle):
    """Bring an angle to [-pi, pi]."""
    return np.angle(np.exp(1j * np.asarray(angle, dtype=np.float64)))
