"""The fused gradient kernel against its formula with one array per symbol."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.total_variation import shrink

from qsm_recon.backend.fft import FourierTransform
from qsm_recon.backend.threads import slab_edges
from qsm_recon.operators.gradient import forward_difference, forward_difference_adjoint
from qsm_recon.terms.regulariser import TotalVariation

ALPHA = 0.4
PENALTIES = (0.5, 0.5, 2.0, 1.1)


def voxel_weights(components, shape, rng):
    if components == 0:
        return None
    weights = rng.uniform(0, 2, (3, *shape))
    weights[:, 0, 0, 0] = 0
    return weights if components == 3 else weights[0]


def fused_and_naive(shape, spacing, components, relaxation, pieces, dtype, block=2, seed=0):
    """Run a few iterations with changing penalties; yield (fused, naive) outputs of each."""
    rng = np.random.default_rng(seed)
    transform = FourierTransform(shape, dtype)
    weights = voxel_weights(components, shape, rng)
    term = TotalVariation().on(transform, spacing, ALPHA, weights)
    w = 1.0 if weights is None else weights
    slabs = slab_edges(shape[0], pieces)
    z = s = np.zeros((3, *shape))
    before = PENALTIES[0]
    for mu in PENALTIES:
        x = rng.standard_normal(shape).astype(dtype)
        image, out, sums = transform.load_image(x), transform.empty_image(), np.zeros(5)
        term.begin_iteration(image, slabs, mu, relaxation)
        for index in reversed(range(len(slabs))):  # slabs may run in any order
            start, stop = slabs[index]
            for a in range(start, stop, block):
                b = min(a + block, stop)
                sums += term.step(image, index, a, b)
        spectrum = transform.spectrum_view(term.spectra[0])
        transform.image_view(out)[...] = np.fft.irfft2(spectrum, s=shape[1:], axes=(1, 2))
        gradient = forward_difference(x.astype(np.float64), spacing)
        relaxed = relaxation * gradient + (1 - relaxation) * z
        u = relaxed + s * before / mu
        z_old, z = z, shrink(u, ALPHA * w / mu)
        s, before = u - z, mu
        expected = [np.abs(w * gradient), (gradient - z) ** 2, (z - z_old) ** 2, z**2, s**2]
        yield (
            (transform.image_view(out), sums),
            (forward_difference_adjoint(z - s, spacing), [values.sum() for values in expected]),
        )


def assert_equal(pairs, tolerance):
    for (out, sums), (expected_out, expected_sums) in pairs:
        assert np.abs(out - expected_out).max() <= tolerance * max(1, np.abs(expected_out).max())
        assert np.allclose(sums, expected_sums, rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("pieces", [1, 2, 3, 7])
@pytest.mark.parametrize("components", [0, 1, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_fused_kernel_equals_its_formula(pieces, components, dtype, tolerance):
    for relaxation in (1.0, 1.7):
        assert_equal(fused_and_naive((7, 5, 6), (0.8, 1.5, 2.0), components, relaxation, pieces, dtype), tolerance)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 6), st.integers(1, 9)),
    pieces=st.integers(1, 4),
    block=st.integers(1, 4),
    components=st.sampled_from([0, 1, 3]),
    seed=st.integers(0, 1000),
)
def test_fused_kernel_on_any_shape(shape, pieces, block, components, seed):
    assert_equal(fused_and_naive(shape, (1.0, 1.2, 0.7), components, 1.5, pieces, "float64", block, seed), 1e-12)
