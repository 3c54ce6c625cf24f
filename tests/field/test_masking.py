"""Masks made from magnitude and phase: the object, whatever it is, and nothing of the air."""

import numpy as np
import pytest

from qsm_recon.errors import DataError
from qsm_recon.field import EchoSeries
from qsm_recon.field.masking import field_mask, otsu_threshold, phase_quality, phase_quality_of, signal_mask, tidy

SHAPE, TIMES = (32, 30, 28), (0.004, 0.012, 0.020)
X, Y, Z = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
BALL = X**2 + Y**2 + Z**2 < 0.7


def dice(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def series(objects, *, noise=0.03, echoes=3, gradient=0.0):
    """Echoes of objects with a smooth field (and a linear phase in rad per voxel) in noisy air."""
    rng = np.random.default_rng(2)
    times = np.array(TIMES[:echoes])
    bias = np.exp(0.5 * X)  # sensitivity of the coil
    phase = (
        2 * np.pi * (30 * np.sin(4 * X) * Y)[..., None] * times + gradient * np.arange(SHAPE[0])[:, None, None, None]
    )
    signal = np.where(objects, bias, 0)[..., None] * np.exp(-20 * times + 1j * phase)
    signal = signal + noise * (rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape))
    return EchoSeries(np.abs(signal), np.angle(signal), tuple(times), 3.0)


@pytest.mark.parametrize("echoes", [1, 3])
@pytest.mark.parametrize("noise", [0.0, 0.003, 0.03, 0.15])
def test_finds_the_object_at_any_noise(noise, echoes):
    mask, facts = signal_mask(series(BALL, noise=noise, echoes=echoes), (1, 1, 1))
    assert dice(mask, BALL) > 0.99
    assert facts["voxels"] == mask.sum()


def test_steep_phase_does_not_matter():
    mask, _ = signal_mask(series(BALL, gradient=2.0), (1, 1, 1))
    assert dice(mask, BALL) > 0.99


def test_two_objects_stay_two_and_specks_go():
    legs = ((X - 0.5) ** 2 + Y**2 < 0.12) | ((X + 0.5) ** 2 + Y**2 < 0.1)
    speck = np.zeros(SHAPE, bool)
    speck[15:17, 1:3, 3:5] = True
    mask, _ = signal_mask(series(legs | speck), (1, 1, 1))
    assert dice(mask, legs) > 0.98
    assert not (mask & speck).any()


def test_a_small_hole_is_filled_and_a_large_one_is_not():
    small = X**2 + Y**2 + Z**2 < 0.02
    mask, _ = signal_mask(series(BALL & ~small), (1, 1, 1))
    assert mask[small].all()
    mask, _ = signal_mask(series(BALL & ~small), (4, 4, 4))  # the same hole, 64 times as large
    assert not mask[small].any()


def test_an_object_that_reaches_the_border_is_not_eroded_there():
    slab = (X**2 + Y**2 < 0.6) & np.ones(SHAPE, bool)
    mask, _ = signal_mask(series(slab, noise=0.01), (1, 1, 1))
    assert dice(mask[..., 0], slab[..., 0]) > 0.97
    assert dice(mask[..., -1], slab[..., -1]) > 0.97


def test_noise_alone_has_no_object():
    with pytest.raises(DataError, match="--mask"):
        signal_mask(series(np.zeros(SHAPE, bool), noise=1.0), (1, 1, 1))


def test_phase_quality_is_that_of_its_formula():
    """Noise of deviation s on a constant phase: exp(-3 s²)."""
    rng = np.random.default_rng(1)
    ones = np.ones((40, 40, 40, 1))
    for deviation in (0.0, 0.2, 0.5):
        echoes = EchoSeries(ones, deviation * rng.standard_normal(ones.shape), (0.01,), 3.0)
        assert np.mean(phase_quality(echoes)[3:-3, 3:-3, 3:-3]) == pytest.approx(np.exp(-3 * deviation**2), abs=0.01)


def test_quality_of_a_complex_signal_is_the_same_and_stays_within_a_mask():
    echoes = series(BALL)
    signal = echoes.magnitude * np.exp(1j * echoes.phase_rad)
    np.testing.assert_allclose(phase_quality_of(signal), phase_quality(echoes), atol=1e-4)
    inside = phase_quality_of(signal, BALL)
    assert not inside[~BALL].any()
    assert np.percentile(inside[BALL], 1) > 0.8  # the rim is not spoilt by the air beside it


def test_a_field_is_known_where_it_is_not_zero_or_else_where_there_is_signal():
    field = np.where(BALL, 0.01 * X, 0)
    mask, origin = field_mask(field, None, (1, 1, 1))
    np.testing.assert_array_equal(mask, field != 0)
    assert "not zero" in origin
    magnitude = np.where(BALL, 1.0, 0.05) * np.random.default_rng(0).uniform(0.8, 1.2, SHAPE)
    mask, origin = field_mask(X + 2, magnitude, (1, 1, 1))
    assert dice(mask, BALL) > 0.99
    assert "Otsu" in origin
    with pytest.raises(DataError, match="--mask"):
        field_mask(X + 2, None, (1, 1, 1))


def test_otsu_maximises_the_variance_between_two_classes():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 1, 3000), rng.normal(8, 1.5, 2000)])
    centres = np.linspace(values.min(), values.max(), 2000)
    spread = [
        (values < c).mean() * (values >= c).mean() * (values[values < c].mean() - values[values >= c].mean()) ** 2
        for c in centres[1:-1]
    ]
    assert otsu_threshold(values) == pytest.approx(centres[1 + int(np.argmax(spread))], abs=0.1)


def test_tidy_of_nothing_is_nothing():
    assert not tidy(np.zeros(SHAPE, bool), (1, 1, 1)).any()
