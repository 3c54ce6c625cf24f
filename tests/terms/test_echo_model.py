"""The multi-echo signal as a fidelity of the field: its derivative and curvature against finite differences."""

import numpy as np
import pytest

from qsm_recon.backend.transforms import fourier_transform
from qsm_recon.terms.echo_model import MultiEchoSignal
from qsm_recon.units import rad_per_ppm

SHAPE, TIMES, B0 = (5, 6, 7), (0.004, 0.011, 0.018, 0.025), 3.0
STEPS = 30


class Signal:
    """Random voxels, all with other m0, R2*, φ0 and field, a few outside the mask."""

    def __init__(self, noise):
        rng = np.random.default_rng(2)
        self.mask = rng.random(SHAPE) > 0.2
        self.field = 0.05 * rng.standard_normal(SHAPE)
        self.direction = rng.standard_normal(SHAPE)
        m0, decay, phase = rng.uniform(0.5, 2, SHAPE), rng.uniform(5, 60, SHAPE), rng.uniform(-3, 3, SHAPE)
        times = np.array(TIMES)
        scales = np.array([rad_per_ppm(B0, t) for t in TIMES])
        echoes = m0[..., None] * np.exp(
            -decay[..., None] * times + 1j * (phase[..., None] + scales * self.field[..., None])
        )
        self.echoes = echoes + noise * (rng.standard_normal(echoes.shape) + 1j * rng.standard_normal(echoes.shape))
        self.transform = fourier_transform(SHAPE, "float64")

    def evaluate(self, field, full):
        """Misfit, derivative and curvature where the voxels' own unknowns have settled."""
        model = MultiEchoSignal(self.transform, self.echoes, self.mask, TIMES, B0, full=full)
        out, predicted = self.transform.empty_image(), self.transform.load_image(field)
        for _ in range(STEPS):
            value = model.evaluate(predicted, 0, out)
            model.accept()
        return value, out[..., : SHAPE[2]].copy(), model.squared_weight[..., : SHAPE[2]].copy()


@pytest.mark.parametrize("full", [True, False], ids=["full", "reduced"])
def test_derivative_is_the_finite_difference(full):
    signal = Signal(noise=0.05)
    point, direction, h = signal.field + 0.004, signal.direction, 1e-6
    slope = (signal.evaluate(point + h * direction, full)[0] - signal.evaluate(point - h * direction, full)[0]) / (
        2 * h
    )
    _value, derivative, _weight = signal.evaluate(point, full)
    assert slope == pytest.approx(np.vdot(derivative, direction), rel=1e-5)
    assert abs(slope) > 1e-3
    assert not derivative[~signal.mask].any()


@pytest.mark.parametrize("full", [True, False], ids=["full", "reduced"])
def test_curvature_is_that_of_the_misfit_where_the_model_fits(full):
    # φ0 follows the field, which takes most of the curvature away: without the elimination it would be far too large.
    signal = Signal(noise=0.0)
    value, derivative, weight = signal.evaluate(signal.field, full)
    assert value < 1e-20
    assert np.abs(derivative).max() < 1e-9
    h = 1e-4
    moved = signal.evaluate(signal.field + h * signal.direction, full)[0]
    assert moved == pytest.approx(0.5 * h**2 * np.sum(weight * signal.direction**2), rel=1e-3)
    # κ: one on average over the mask.
    assert weight[signal.mask].mean() == pytest.approx(1, rel=1e-6)


def test_maps_are_those_of_the_signal():
    signal = Signal(noise=0.0)
    model = MultiEchoSignal(signal.transform, signal.echoes, signal.mask, TIMES, B0)
    out = signal.transform.empty_image()
    for _ in range(STEPS):
        model.evaluate(signal.transform.load_image(signal.field), 0, out)
        model.accept()
    maps = model.maps(SHAPE)
    rebuilt = maps["m0"] * np.exp(-maps["r2star_per_s"] * TIMES[-1] + 1j * maps["initial_phase_rad"])
    expected = signal.echoes[..., -1] * np.exp(-1j * rad_per_ppm(B0, TIMES[-1]) * signal.field)
    assert np.abs(rebuilt - expected)[signal.mask].max() < 1e-4
