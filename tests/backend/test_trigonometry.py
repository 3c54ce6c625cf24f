"""The vectorisable sine and cosine."""

import numpy as np

from qsm_recon.backend.jit import kernel
from qsm_recon.backend.trigonometry import sine_cosine


@kernel
def _evaluate(x, sine, cosine):
    for i in range(x.size):
        sine[i], cosine[i] = sine_cosine(x[i])


def evaluate(x):
    sine, cosine = np.empty_like(x), np.empty_like(x)
    _evaluate(x, sine, cosine)
    return sine, cosine


def test_sine_and_cosine_are_right_in_single_precision():
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.uniform(-8, 8, 50_000), rng.uniform(-1000, 1000, 50_000)]).astype(np.float32)
    sine, cosine = evaluate(x)
    assert np.abs(sine - np.sin(x.astype(np.float64))).max() < 3e-7
    assert np.abs(cosine - np.cos(x.astype(np.float64))).max() < 3e-7


def test_small_angles_keep_their_relative_precision():
    x = np.float32([0, 1e-20, 1e-7, 1e-3])
    sine, cosine = evaluate(x)
    assert sine[0] == 0
    assert np.allclose(sine[1:], np.sin(x[1:].astype(np.float64)), rtol=2e-7, atol=0)
    assert np.array_equal(cosine[:3], [1, 1, 1])


def test_odd_and_even():
    x = np.linspace(0, 20, 1001, dtype=np.float32)
    sine, cosine = evaluate(x)
    minus_sine, same_cosine = evaluate(-x)
    assert np.array_equal(minus_sine, -sine)
    assert np.array_equal(same_cosine, cosine)


def test_multiples_of_a_quarter_turn():
    quarters = np.arange(-40, 41)
    sine, cosine = evaluate((quarters * np.pi / 2).astype(np.float32))
    assert np.allclose(sine, np.array([0, 1, 0, -1])[quarters % 4], atol=3e-6)
    assert np.allclose(cosine, np.array([1, 0, -1, 0])[quarters % 4], atol=3e-6)


def test_not_a_number_stays_visible():
    sine, cosine = evaluate(np.float32([np.nan]))
    assert np.isnan(sine).all()
    assert np.isnan(cosine).all()
