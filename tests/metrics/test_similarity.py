"""Similarity metrics against naive float64 evaluations of their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve

from qsm_recon.errors import DataError, ParameterError
from qsm_recon.metrics import cc, evaluate, gxe, hfen, mad, mi, ssim, xsim
from qsm_recon.metrics.windows import bounding_box, laplacian_of_gaussian

ALL = (ssim, xsim, hfen, cc, mi, mad, gxe)


def window(half_width, sigma):
    axis = np.arange(-half_width, half_width + 1)
    square = sum(g**2 for g in np.meshgrid(axis, axis, axis, indexing="ij"))
    kernel = np.exp(-square / (2 * sigma**2))
    return kernel / kernel.sum(), square


def naive_index(first, second, region, c1, c2):
    """The published product form, with a dense window and zeros beyond the border."""
    kernel, _ = window(3, 1.5)

    def average(image):
        return convolve(image, kernel, mode="constant")

    m1, m2 = average(first), average(second)
    v1, v2 = average(first**2) - m1**2, average(second**2) - m2**2
    covariance = average(first * second) - m1 * m2
    index = (2 * m1 * m2 + c1) * (2 * covariance + c2) / ((m1**2 + m2**2 + c1) * (v1 + v2 + c2))
    return index[region].mean()


def test_structural_similarity_matches_the_dense_window(head):
    r, t = head.reconstruction * head.mask, head.truth * head.mask
    expected = naive_index(r, t, head.mask, 1e-4, 1e-6)
    assert xsim(head.reconstruction, head.truth, head.mask) == pytest.approx(expected, abs=1e-10)
    span = np.ptp(head.truth[head.mask])
    expected = naive_index(r, t, head.mask, (0.01 * span) ** 2, (0.03 * span) ** 2)
    assert ssim(head.reconstruction, head.truth, head.mask) == pytest.approx(expected, abs=1e-10)
    assert ssim(head.reconstruction, head.truth, head.mask, data_range=span) == pytest.approx(expected, abs=1e-10)
    unmasked = naive_index(head.reconstruction, head.truth, head.mask, 1e-4, 1e-6)
    toolbox = xsim(head.reconstruction, head.truth, head.mask, reference="fansi")
    assert toolbox == pytest.approx(unmasked, abs=1e-10)
    assert abs(unmasked - xsim(head.reconstruction, head.truth, head.mask)) > 1e-4
    assert xsim(r, t, reference="fansi") == pytest.approx(naive_index(r, t, t != 0, 1e-4, 1e-6), abs=1e-10)


def test_laplacian_of_gaussian_matches_the_dense_kernel():
    gauss, square = window(7, 1.5)
    kernel = (square / 1.5**4 - 3 / 1.5**2) * gauss
    kernel -= kernel.mean()
    image = np.random.default_rng(1).standard_normal((18, 11, 20))
    expected = convolve(image, kernel, mode="constant")
    np.testing.assert_allclose(laplacian_of_gaussian(image), expected, atol=1e-12)


def test_high_frequency_error_norm(head):
    r, t = head.reconstruction * head.mask, head.truth * head.mask
    filtered, detail = laplacian_of_gaussian(r - t), laplacian_of_gaussian(t)
    expected = 100 * np.linalg.norm(filtered[head.mask]) / np.linalg.norm(detail[head.mask])
    assert hfen(head.reconstruction, head.truth, head.mask) == pytest.approx(expected, rel=1e-11)
    expected = 100 * np.linalg.norm(filtered) / np.linalg.norm(detail)
    assert hfen(head.reconstruction, head.truth, head.mask, reference="fansi") == pytest.approx(expected, rel=1e-11)


def test_correlation(head):
    expected = np.corrcoef(head.reconstruction[head.mask], head.truth[head.mask])[0, 1]
    assert cc(head.reconstruction, head.truth, head.mask) == pytest.approx(expected, abs=1e-12)
    expected = np.corrcoef(head.reconstruction.ravel(), head.truth.ravel())[0, 1]
    assert cc(head.reconstruction, head.truth, head.mask, reference="fansi") == pytest.approx(expected, abs=1e-12)


def naive_information(first, second):
    """Plug-in mutual information of the joint histogram with ⌈n^⅓⌉ cells, less its bias."""
    n = first.size
    cells = int(np.ceil(n ** (1 / 3)))
    edges = []
    for values in (first, second):
        spacing = np.ptp(values) / (n - 1)
        edges.append(np.linspace(values.min() - spacing / 2, values.max() + spacing / 2, cells + 1))
    joint = np.histogram2d(first, second, bins=edges)[0] / n
    rows, columns = joint.sum(1), joint.sum(0)
    total = sum(
        joint[i, j] * np.log(joint[i, j] / (rows[i] * columns[j]))
        for i in range(cells)
        for j in range(cells)
        if joint[i, j] > 0
    )
    return total - (cells - 1) ** 2 / (2 * n)


def test_mutual_information(head):
    expected = naive_information(head.truth[head.mask], head.reconstruction[head.mask])
    assert mi(head.reconstruction, head.truth, head.mask) == pytest.approx(expected, abs=1e-10)
    expected = naive_information(head.truth.ravel(), head.reconstruction.ravel())
    assert mi(head.reconstruction, head.truth, head.mask, reference="fansi") == pytest.approx(expected, abs=1e-10)


def test_mutual_information_of_known_distributions():
    rng = np.random.default_rng(5)
    first, second = rng.uniform(size=(2, 60, 60, 60))
    assert mi(first, second) == pytest.approx(0, abs=1e-3)
    # a uniform map and itself: the entropy of the 60 cells, less the bias of the estimate
    assert mi(first, first) == pytest.approx(np.log(60) - 59**2 / (2 * 60**3), abs=1e-3)


def test_absolute_difference(head):
    r, t = head.reconstruction, head.truth
    expected = 100 * np.abs(r - t)[head.mask].sum() / np.abs(t)[head.mask].sum()
    assert mad(r, t, head.mask) == pytest.approx(expected, rel=1e-12)
    expected = 100 * np.abs(r - t).sum() / np.abs(t).sum()
    assert mad(r, t, head.mask, reference="fansi") == pytest.approx(expected, rel=1e-12)


def test_gradient_error(head):
    r, t, m = head.reconstruction, head.truth, head.mask
    error = detail = 0.0
    for axis in range(3):
        both = np.delete(m & np.roll(m, -1, axis), -1, axis)
        for_error = np.diff(r - t, axis=axis)[both]
        for_truth = np.diff(t, axis=axis)[both]
        error, detail = error + (for_error**2).sum(), detail + (for_truth**2).sum()
    assert gxe(r, t, m) == pytest.approx(100 * np.sqrt(error / detail), rel=1e-11)

    # the toolbox differentiates in k-space, along the first two axes
    k = np.meshgrid(*(np.fft.fftfreq(n) for n in r.shape), indexing="ij")

    def gradient_norm(image):
        transformed = np.fft.fftn(image)
        parts = [np.fft.ifftn((1 - np.exp(2j * np.pi * k[axis])) * transformed).real for axis in (0, 1)]
        return np.linalg.norm(parts)

    expected = 100 * gradient_norm(r - t) / gradient_norm(t)
    assert gxe(r, t, m, reference="fansi") == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("metric", ALL)
def test_nothing_outside_the_mask_counts(head, metric):
    before = metric(head.reconstruction, head.truth, head.mask)
    head.reconstruction[~head.mask] = 17
    head.truth[~head.mask] = -5
    assert metric(head.reconstruction, head.truth, head.mask) == pytest.approx(before, abs=1e-12)


@pytest.mark.parametrize("metric", ALL)
def test_padding_the_image_changes_nothing(head, metric):
    before = metric(head.reconstruction, head.truth, head.mask)
    padded = [np.pad(image, ((3, 0), (0, 5), (2, 9))) for image in (head.reconstruction, head.truth, head.mask)]
    assert metric(*padded) == pytest.approx(before, abs=1e-11)


@pytest.mark.parametrize("metric", [xsim, hfen])
def test_cropping_to_the_mask_is_exact_for_the_community_windows(head, metric):
    small = np.zeros_like(head.mask)
    small[0:17, 20:30, 25:] = True  # touches two image borders
    r, t = head.reconstruction * small, head.truth * small
    whole = metric(r, t, np.ones_like(small), reference="community")
    inside = metric(r, t, small, reference="community")
    assert inside != pytest.approx(whole, rel=1e-3)
    scorer = pytest.importorskip("qsm_ci.qsm_eval", reason="the community scorer is not installed")
    assert inside == pytest.approx(getattr(scorer, metric.__name__)(r, t, small), abs=1e-10)


@given(scale=st.floats(0.05, 20), seed=st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_relative_metrics_do_not_depend_on_the_unit(scale, seed):
    r, t = np.random.default_rng(seed).standard_normal((2, 12, 11, 10))
    for metric in (ssim, hfen, cc, mad, gxe):
        assert metric(scale * r, scale * t) == pytest.approx(metric(r, t), rel=1e-8)


@given(seed=st.integers(0, 50), noise=st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_ranges(seed, noise):
    rng = np.random.default_rng(seed)
    t = rng.standard_normal((12, 11, 10))
    r = t + noise * rng.standard_normal(t.shape)
    for metric in (ssim, xsim, cc):
        assert -1 <= metric(r, t) <= 1 + 1e-12
        assert metric(t, t) == pytest.approx(1)
    for metric in (hfen, mad, gxe):
        assert metric(r, t) >= 0
        assert metric(t, t) == 0


def test_evaluation_uses_the_plain_functions(head):
    case = (head.reconstruction, head.truth, head.mask)
    scores = evaluate(*case)
    for metric in ALL:
        assert scores.values[metric.__name__] == pytest.approx(metric(*case), abs=1e-11), metric.__name__
    community = evaluate(*case, variant="community")
    assert community.values["xsim"] == pytest.approx(xsim(*case, reference="community"), abs=1e-11)
    assert community.values["hfen"] == pytest.approx(hfen(*case, reference="community"), abs=1e-11)


def test_bounding_box():
    mask = np.zeros((8, 9, 10), bool)
    mask[2, 3:5, 9] = True
    assert bounding_box(mask) == (slice(2, 3), slice(3, 5), slice(9, 10))
    assert bounding_box(mask, 3) == (slice(0, 6), slice(0, 8), slice(6, 10))


@pytest.mark.parametrize("metric", ALL)
def test_degenerate_inputs_are_refused(metric):
    flat = np.zeros((8, 8, 8))
    ramp = np.arange(512.0).reshape(8, 8, 8)
    with pytest.raises(DataError, match="empty"):
        metric(ramp, ramp, np.zeros((8, 8, 8), bool))
    if metric is not xsim:
        with pytest.raises(DataError, match="constant"):
            metric(ramp, flat)
    if metric is not ssim:
        with pytest.raises(ParameterError, match="unknown definition"):
            metric(ramp, ramp, reference="matlab")
