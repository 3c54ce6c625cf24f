"""One echo: the field beside a strong source, and a phase that no unwrapping makes continuous."""

import numpy as np
import pytest

from qsm_recon.field import EchoSeries, estimate_field
from qsm_recon.operators.grid import Grid
from qsm_recon.units import ppm_to_hz

SHAPE, ECHO_TIME_S, B0_TESLA, RADIUS = (40, 40, 40), 0.02, 3.0, 5.0
X, Y, Z = np.meshgrid(*[np.arange(n) - n / 2 + 0.3 for n in SHAPE], indexing="ij")
MASK = X**2 + Y**2 + Z**2 < 17**2


def sphere_ppm(chi_ppm):
    """Field of a sphere in its middle, analytic; constant inside."""
    r = np.sqrt(X**2 + Y**2 + Z**2)
    return np.where(r < RADIUS, 0.0, chi_ppm / 3 * (RADIUS / r) ** 3 * (3 * (Z / r) ** 2 - 1))


def series(field_ppm, further_rad=0.0, noise=0.01):
    phase = 2 * np.pi * ppm_to_hz(field_ppm, B0_TESLA) * ECHO_TIME_S + further_rad
    rng = np.random.default_rng(7)
    scatter = noise * (rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE))
    signal = (MASK * np.exp(1j * phase) + scatter)[..., None]
    return EchoSeries(np.abs(signal), np.angle(signal), (ECHO_TIME_S,), B0_TESLA)


@pytest.mark.parametrize("chi_ppm", [0.1, 0.7, 1.0])
def test_the_field_beside_a_strong_source_is_right_or_has_little_weight(chi_ppm):
    """As with several echoes: aliases by what a dipole explains, and weight by what is left in doubt."""
    field = sphere_ppm(chi_ppm)
    found = estimate_field(series(field), MASK, grid=Grid(SHAPE, (1, 1, 1), (0, 0, 1)))
    error = np.abs(found.field_ppm - field)[MASK]
    turn = 1 / ppm_to_hz(ECHO_TIME_S, B0_TESLA)
    assert found.reliability is not None
    assert not np.any((error > 0.5 * turn) & (found.reliability[MASK] > 0.5))  # 11 and 43 voxels were
    assert np.median(error) < 2e-3
    assert (found.report["voxels_in_doubt"] > 0) == (chi_ppm > 0.5)
    if chi_ppm == 0.1:
        np.testing.assert_array_equal(found.reliability[MASK], 1)


@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_fringe_lines_with_open_ends_are_counted_and_no_others(noise):
    """Around a line where coils were combined wrongly the phase turns once; a strong source leaves other jumps."""
    twist = np.arctan2(Y - 4, X - 3) - np.arctan2(Y + 6, X + 5)
    twisted = estimate_field(series(sphere_ppm(0.1), twist, noise), MASK).report
    assert twisted["open_fringes"] > 0.9 * twisted["open_jumps"] > 500
    strong = estimate_field(series(sphere_ppm(1.5), 0.0, noise), MASK).report
    assert strong["open_jumps"] > 50
    assert strong["open_fringes"] < 0.4 * strong["open_jumps"]
    assert estimate_field(series(sphere_ppm(0.1), 0.0, noise), MASK).report["open_fringes"] == 0
