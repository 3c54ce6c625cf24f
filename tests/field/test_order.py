"""A phase that every echo has everywhere is no other order of the echoes."""

import numpy as np
import pytest

from qsm_recon.field import EchoSeries
from qsm_recon.field.order import order_test

SHAPE, B0_TESLA = (24, 20, 16), 3.0
X, Y, Z = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
MASK = X**2 + Y**2 + Z**2 < 0.9
FREQUENCY_HZ = 12 + 4 * np.sin(3 * X) * np.cos(2 * Y) + 1.5 * Z


def series(offsets_rad, order):
    times = tuple(0.004 + 0.006 * n for n in range(len(offsets_rad)))
    rng = np.random.default_rng(3)
    angle = 2 * np.pi * FREQUENCY_HZ[..., None] * times + np.asarray(offsets_rad)
    signal = MASK[..., None] * np.exp(1j * angle - 10 * np.array(times))
    signal = signal + 0.01 * (rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape))
    return EchoSeries(np.abs(signal), np.angle(signal)[..., order], times, B0_TESLA)


@pytest.mark.parametrize("offsets", [(0, 0.5, -0.4, 0.5), (0.3, -0.3, 0, 0.6), (0.1, 0.3, 0.1, 0.5, -0.6, 0)])
def test_phases_of_echoes_that_are_the_same_everywhere_are_no_other_order(offsets):
    """Of eddy currents, say: 47 of 64 such series were said to be in another order, and gave the right map."""
    own = list(range(len(offsets)))
    found = order_test(series(offsets, own), MASK)
    assert found.residual > 0.1
    assert not found.better_order
    assert not found.suspect
    exchanged = [1, 0, *own[2:]]
    right, reverse = tuple(n + 1 for n in exchanged), tuple(n + 1 for n in exchanged[::-1])
    assert order_test(series(np.zeros(len(own)), exchanged), MASK).better_order in (right, reverse)
