"""The official eight: closed forms, the challenge's own numbers, the community scorer's."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsm_recon.errors import DataError, ParameterError
from qsm_recon.metrics import (
    OFFICIAL_METRICS,
    calcification_moment,
    calcification_moment_deviation,
    calcification_streaking,
    cc,
    dnrmse,
    evaluate,
    linear_slope_deviation,
    nrmse,
)
from qsm_recon.metrics.rc2 import DetrendMethod, blood_region, deep_grey_region, linear_fit, tissue_region

COMMUNITY_NAMES = {
    "nrmse": "nrmse",
    "dnrmse": "nrmse_detrend",
    "dnrmse_tissue": "nrmse_tissue",
    "dnrmse_blood": "nrmse_blood",
    "dnrmse_dgm": "nrmse_dgm",
    "linear_slope_deviation": "dgm_linearity",
    "calcification_streaking": "calc_streak",
    "calcification_moment_deviation": "calc_moment_dev",
    "cc": "correlation",
    "xsim": "xsim",
    "hfen": "hfen",
}


def closed_form(slope, correlation, method):
    """Per cent, from the slope of the reconstruction on the truth and their correlation."""
    a, rho = slope, correlation
    return 100 * np.sqrt(
        {
            "none": a**2 / rho**2 - 2 * a + 1,
            "lstsq": 1 - rho**2,
            "inverse": 1 / rho**2 - 1,
            "rc2-as-run": a**4 / rho**2 - 2 * a**2 + 1,
        }[method]
    )


def case_with(slope, correlation, seed=0):
    """Maps with exactly this slope and correlation over the whole array."""
    rng = np.random.default_rng(seed)
    truth, noise = rng.standard_normal((2, 512))
    truth -= truth.mean()
    noise -= noise.mean()
    noise -= truth * (noise @ truth) / (truth @ truth)
    noise *= np.linalg.norm(truth) / np.linalg.norm(noise)
    spread = abs(slope) * np.sqrt(1 / correlation**2 - 1)
    shape = (8, 8, 8)
    return (slope * truth + spread * noise + 3).reshape(shape), (truth - 2).reshape(shape), np.ones(shape, bool)


@given(slope=st.floats(0.2, 2), correlation=st.floats(0.1, 0.999), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_errors_follow_their_closed_forms(slope, correlation, seed):
    case = case_with(slope, correlation, seed)
    np.testing.assert_allclose(nrmse(*case), closed_form(slope, correlation, "none"), rtol=1e-8, atol=1e-8)
    for method in ("lstsq", "inverse", "rc2-as-run"):
        np.testing.assert_allclose(
            dnrmse(*case, method=method), closed_form(slope, correlation, method), rtol=1e-8, atol=1e-8
        )
    assert dnrmse(*case, method="lstsq") <= dnrmse(*case, method="inverse") * (1 + 1e-9)


@given(scale=st.floats(0.1, 10), offset=st.floats(-1, 1))
@settings(max_examples=25, deadline=None)
def test_what_scaling_and_shifting_the_map_changes(scale, offset):
    reconstruction, truth, mask = case_with(0.9, 0.8)
    changed = scale * reconstruction + offset
    np.testing.assert_allclose(dnrmse(changed, truth, mask), dnrmse(reconstruction, truth, mask), rtol=1e-9)
    np.testing.assert_allclose(
        nrmse(reconstruction + offset, truth, mask), nrmse(reconstruction, truth, mask), rtol=1e-9
    )
    np.testing.assert_allclose(
        nrmse(scale * reconstruction, scale * truth, mask), nrmse(reconstruction, truth, mask), rtol=1e-9
    )


def test_the_executed_detrending_is_no_detrending():
    reconstruction, truth, mask = case_with(0.5, 1.0)
    assert dnrmse(reconstruction, truth, mask) == pytest.approx(0, abs=1e-10)
    assert dnrmse(reconstruction, truth, mask, method="rc2-as-run") == pytest.approx(75)
    assert nrmse(reconstruction, truth, mask) == pytest.approx(50)


def test_challenge_code_is_reproduced(challenge_case):
    for reconstruction, expected in zip(challenge_case.recon, challenge_case.metrics, strict=True):
        scores = evaluate(
            reconstruction, challenge_case.chi_true, challenge_case.msk, challenge_case.seg, similarity=False
        )
        assert list(scores.values) == list(OFFICIAL_METRICS)
        np.testing.assert_allclose(list(scores.values.values()), expected, rtol=0, atol=1e-10)
        assert not scores.reasons


def test_parts_of_the_challenge_code_are_reproduced(challenge_case):
    labels, mask, truth = challenge_case.seg, challenge_case.msk > 0, challenge_case.chi_true
    np.testing.assert_array_equal(blood_region(labels, mask), challenge_case.msk_blood > 0)
    assert calcification_moment(truth, labels) == pytest.approx(float(challenge_case.GT_CalcMoment), abs=1e-10)
    for reconstruction, moment, first, executed in zip(
        challenge_case.recon,
        challenge_case.calc_moment,
        challenge_case.detrend_v0,
        challenge_case.detrend_v1,
        strict=True,
    ):
        assert calcification_moment(reconstruction, labels) == pytest.approx(moment, abs=1e-10)
        assert nrmse(reconstruction, truth, mask) == pytest.approx(first[0], abs=1e-10)
        assert dnrmse(reconstruction, truth, mask, method="lstsq") == pytest.approx(first[1], abs=1e-10)
        assert dnrmse(reconstruction, truth, mask, method="rc2-as-run") == pytest.approx(executed[1], abs=1e-10)


def community_scores(reconstruction, truth, mask, labels):
    scorer = pytest.importorskip("qsm_ci.qsm_eval", reason="the community scorer is not installed")
    metrics, _ = scorer.score_arrays(reconstruction, truth, mask.astype(np.uint8), seg=labels.astype(np.int32))
    return metrics


def assert_agrees_with_community(reconstruction, truth, mask, labels):
    expected = community_scores(reconstruction, truth, mask, labels)
    scores = evaluate(reconstruction, truth, mask, labels, variant="community")
    for ours, theirs in COMMUNITY_NAMES.items():
        if np.isnan(expected[theirs]):
            assert scores.values[ours] is None, ours
            assert scores.reasons[ours]
        else:
            assert scores.values[ours] == pytest.approx(expected[theirs], abs=1e-10, rel=1e-10), ours


def test_community_scorer_is_reproduced_on_the_challenge_case(challenge_case):
    for reconstruction in challenge_case.recon:
        assert_agrees_with_community(
            reconstruction, challenge_case.chi_true, challenge_case.msk > 0, challenge_case.seg
        )


@pytest.mark.parametrize(
    "change",
    ["none", "zero", "not finite", "labels missing", "no calcification", "border", "dark surroundings", "one nucleus"],
)
def test_community_scorer_is_reproduced(head, change):
    if change == "zero":
        head.reconstruction[:] = 0
    elif change == "not finite":
        head.reconstruction[12, 31, 21:23] = np.nan, np.inf
    elif change == "labels missing":
        head.labels[np.isin(head.labels, (2, 7, 8, 9, 11))] = 10
    elif change == "no calcification":
        head.labels[head.labels == 16] = 10
    elif change == "border":
        head.mask[:] = True
        head.labels[head.labels == 16] = 8
        head.labels[1:4, 20:23, 39:] = 16
        head.reconstruction[1:4, 20:23, 39:] = head.truth[1:4, 20:23, 39:] = -3
    elif change == "dark surroundings":
        head.reconstruction[22, 30, 21] = -5
        head.reconstruction[21:23, 19:21, 20:22] = -6
    elif change == "one nucleus":
        head.labels[np.isin(head.labels, (2, 3, 4, 5, 6))] = 10
    assert_agrees_with_community(head.reconstruction, head.truth, head.mask, head.labels)


def test_perfect_reconstruction_has_no_error(head):
    for variant in ("rc2", "community"):
        scores = evaluate(head.truth, head.truth, head.mask, head.labels, variant=variant)
        for name in (*OFFICIAL_METRICS[:6], "hfen", "mad", "gxe"):
            assert scores.values[name] == pytest.approx(0, abs=1e-10), name
        for name in ("ssim", "xsim", "cc"):
            assert scores.values[name] == pytest.approx(1, abs=1e-12), name
    moment = evaluate(head.truth, head.truth, head.mask, head.labels).values["calcification_moment_deviation"]
    assert moment == pytest.approx(0, abs=1e-10)
    streaking = evaluate(head.truth, head.truth, head.mask, head.labels).values["calcification_streaking"]
    assert streaking == pytest.approx(0, abs=1e-12)


def test_regions(head):
    tissue = tissue_region(head.labels, head.mask)
    assert set(np.unique(head.labels[tissue])) == {7, 8, 9}
    blood = blood_region(head.labels, head.mask)
    assert (blood & ~head.mask).any()
    naive = np.zeros_like(blood)
    for x, y, z in np.argwhere(head.mask & (head.labels == 11)):
        naive[max(x - 1, 0) : x + 2, max(y - 1, 0) : y + 2, max(z - 1, 0) : z + 2] = True
    np.testing.assert_array_equal(blood, naive)
    as_run = deep_grey_region(head.labels, head.mask)
    community = deep_grey_region(head.labels, head.mask, variant="community")
    np.testing.assert_array_equal(as_run & ~community, head.mask & (head.labels == 0))
    assert (as_run & ~community).any()


def test_blood_dilation_stops_at_the_image_border():
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[0, 0, 5] = 11
    region = blood_region(labels, np.ones(labels.shape, bool))
    expected = np.zeros(labels.shape, bool)
    expected[:2, :2, 4:] = True
    np.testing.assert_array_equal(region, expected)


def test_linear_slope_is_that_of_the_regional_means(head):
    scaled = 0.7 * head.truth + 0.02
    assert linear_slope_deviation(scaled, head.truth, head.labels) == pytest.approx(0.3, abs=1e-12)
    head.labels[head.labels == 4] = 8
    assert linear_slope_deviation(scaled, head.truth, head.labels, variant="community") == pytest.approx(0.3)
    with pytest.raises(DataError, match=r"lacks .* label\(s\) 4"):
        linear_slope_deviation(scaled, head.truth, head.labels)


def calcification_only():
    """A calcification of 4³ voxels of −2 ppm in tissue between −0.03 and 0.02 ppm."""
    rng = np.random.default_rng(3)
    truth = rng.uniform(-0.03, 0.02, (30, 30, 30))
    labels = np.full(truth.shape, 8)
    labels[13:17, 13:17, 13:17] = 16
    truth[labels == 16] = -2
    return truth, labels


def test_calcification_metrics_of_a_known_case():
    truth, labels = calcification_only()
    # the surroundings reach almost -0.03, so the threshold is -0.03 and segments the label alone
    assert calcification_moment(truth, labels) == pytest.approx(-128)
    half = np.where(labels == 16, truth / 2, truth)
    assert calcification_moment_deviation(half, truth, labels) == pytest.approx(64)
    assert calcification_moment_deviation(half, truth, labels, true_moment=-70) == pytest.approx(6)
    assert calcification_streaking(half, truth, labels) == pytest.approx(0, abs=1e-12)

    rng = np.random.default_rng(4)
    noise = rng.standard_normal(truth.shape) * 1e-3
    rim = np.zeros(truth.shape, bool)
    rim[6:24, 6:24, 6:24] = True
    rim[10:20, 10:20, 10:20] = False
    noisy = truth + np.where(rim, noise, 0)
    residual = noise[rim] - np.polyval(np.polyfit(truth[rim], noise[rim], 1), truth[rim])
    assert calcification_streaking(noisy, truth, labels) == pytest.approx(residual.std(ddof=1) / 2, rel=1e-9)
    assert calcification_streaking(noisy, truth, labels, variant="community") == pytest.approx(
        residual.std() / 2, rel=1e-9
    )


def test_calcification_that_the_definition_does_not_cover():
    truth, labels = calcification_only()
    dark = truth.copy()
    dark[5, 15, 15] = -1.6
    with pytest.raises(DataError, match=r"fall to -1\.60 ppm"):
        calcification_moment(dark, labels)
    assert calcification_moment(dark, labels, variant="community") == pytest.approx(-128)
    with pytest.raises(DataError, match="more diamagnetic"):
        calcification_moment(np.abs(truth), labels)
    near = np.roll(labels, -4, axis=2)
    with pytest.raises(DataError, match="image border"):
        calcification_moment(np.roll(truth, -4, axis=2), near)
    with pytest.raises(DataError, match="no calcification"):
        calcification_moment(truth, np.zeros_like(labels))


def test_linear_fit_of_a_constant_is_flat():
    assert linear_fit(np.full(5, 2.0), np.arange(5.0)) == (0.0, 2.0)


@pytest.mark.parametrize("level", [0.1, 0.3, 1 / 3, 1.7])
def test_a_constant_is_one_whatever_its_value(head, level):
    """The mean of equal numbers is rounded: what is left of them is no signal."""
    flat = np.full(head.truth.shape, level)
    with pytest.raises(DataError, match="constant"):
        nrmse(head.reconstruction, flat, head.mask)
    for method in get_args(DetrendMethod):
        with pytest.raises(DataError, match="constant"):
            dnrmse(head.reconstruction, flat, head.mask, method=method)
    with pytest.raises(DataError, match="does not correlate"):
        dnrmse(flat, head.truth, head.mask)
    assert nrmse(flat, head.truth, head.mask) == pytest.approx(100)
    for first, second in ((flat, head.truth), (head.truth, flat)):
        with pytest.raises(DataError, match="constant"):
            cc(first, second, head.mask)
    assert linear_fit(np.arange(5.0), np.full(5, level)) == (0.0, pytest.approx(level))
    assert linear_fit(np.full(7, level), np.arange(7.0)) == (0.0, 3.0)


def test_errors_name_the_cause(head):
    with pytest.raises(DataError, match="empty"):
        nrmse(head.reconstruction, head.truth, np.zeros_like(head.mask))
    with pytest.raises(DataError, match="constant"):
        nrmse(head.reconstruction, np.zeros_like(head.truth), head.mask)
    with pytest.raises(DataError, match="does not correlate"):
        dnrmse(np.zeros_like(head.truth), head.truth, head.mask)
    with pytest.raises(ParameterError, match="did you mean 'inverse'"):
        dnrmse(head.reconstruction, head.truth, head.mask, method="invers")
