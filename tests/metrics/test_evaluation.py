"""Scoring as a whole: keys, missing metrics, validation, combination of simulations, ranking."""

import json
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsm_recon.errors import DataError, ParameterError
from qsm_recon.metrics import (
    OFFICIAL_METRICS,
    SIMILARITY_METRICS,
    Scores,
    combine_cases,
    evaluate,
    rank,
    top_five_appearances,
)

KEYS = [
    "nrmse",
    "dnrmse",
    "dnrmse_tissue",
    "dnrmse_blood",
    "dnrmse_dgm",
    "linear_slope_deviation",
    "calcification_streaking",
    "calcification_moment_deviation",
    "ssim",
    "xsim",
    "hfen",
    "cc",
    "mi",
    "mad",
    "gxe",
]


@pytest.mark.parametrize("variant", ["rc2", "community"])
def test_keys_and_json(head, variant):
    scores = evaluate(head.reconstruction, head.truth, head.mask, head.labels, variant=variant)
    assert list(scores.values) == KEYS == [*OFFICIAL_METRICS, *SIMILARITY_METRICS]
    assert not scores.reasons
    assert json.loads(scores.as_json()) == scores.values
    official = evaluate(head.reconstruction, head.truth, head.mask, head.labels, variant=variant, similarity=False)
    assert official.values == {name: scores.values[name] for name in OFFICIAL_METRICS}


def test_without_labels_the_rest_stands(head):
    full = evaluate(head.reconstruction, head.truth, head.mask, head.labels)
    scores = evaluate(head.reconstruction, head.truth, head.mask)
    for name in OFFICIAL_METRICS[2:]:
        assert scores.values[name] is None
        assert scores.reasons[name] == "no label map was given"
    for name in ("nrmse", "dnrmse", *SIMILARITY_METRICS):
        assert scores.values[name] == full.values[name]
    assert '"dnrmse_blood": null' in scores.as_json()


def test_a_missing_label_takes_only_its_metrics_away(head):
    head.labels[np.isin(head.labels, (5, 11, 16))] = 10
    scores = evaluate(head.reconstruction, head.truth, head.mask, head.labels)
    assert set(scores.reasons) == {name for name, value in scores.values.items() if value is None}
    assert "label 11 (blood)" in scores.reasons["dnrmse_blood"]
    assert "label(s) 5" in scores.reasons["linear_slope_deviation"]
    assert "no calcification" in scores.reasons["calcification_streaking"]
    assert len(scores.reasons) == 4


def test_input_types_do_not_matter(head):
    expected = evaluate(head.reconstruction, head.truth, head.mask, head.labels)
    scores = evaluate(
        np.asfortranarray(head.reconstruction),
        head.truth.astype(">f8"),
        head.mask.astype(np.float32),
        head.labels.astype(np.float64),
    )
    for name in KEYS:
        assert scores.values[name] == pytest.approx(expected.values[name], abs=1e-12)
    untouched = head.reconstruction.copy()
    evaluate(head.reconstruction, head.truth, head.mask, head.labels, variant="community")
    np.testing.assert_array_equal(head.reconstruction, untouched)


def test_values_that_are_not_finite_count_as_zero(head, caplog):
    spoilt = head.reconstruction.copy()
    spoilt[20, 20, 30], spoilt[0, 0, 0] = np.nan, np.inf
    zeroed = np.where(np.isfinite(spoilt), spoilt, 0)
    with caplog.at_level(logging.WARNING):
        scores = evaluate(spoilt, head.truth, head.mask, head.labels)
    assert scores.values == evaluate(zeroed, head.truth, head.mask, head.labels).values
    assert "2 voxels of the reconstruction (1 in the mask)" in caplog.text


def test_known_moment_replaces_that_of_the_truth(head):
    scores = evaluate(head.reconstruction, head.truth, head.mask, head.labels, similarity=False)
    known = evaluate(
        head.reconstruction, head.truth, head.mask, head.labels, similarity=False, calcification_moment=-100
    )
    name = "calcification_moment_deviation"
    assert scores.values[name] != known.values[name]
    assert {k: v for k, v in scores.values.items() if k != name} == {k: v for k, v in known.values.items() if k != name}


def test_bad_input_is_refused(head):
    good = {"susceptibility_ppm": head.reconstruction, "truth_ppm": head.truth, "mask": head.mask}
    with pytest.raises(DataError, match=r"susceptibility: shape .* does not fit the truth's"):
        evaluate(head.reconstruction[1:], head.truth, head.mask)
    with pytest.raises(DataError, match="labels: shape"):
        evaluate(**good, labels=head.labels[..., 1:])
    with pytest.raises(DataError, match="labels: expected whole numbers"):
        evaluate(**good, labels=head.labels + 0.4)
    with pytest.raises(DataError, match="mask is empty"):
        evaluate(head.reconstruction, head.truth, np.zeros_like(head.mask))
    with pytest.raises(DataError, match="three-dimensional"):
        evaluate(head.reconstruction[0], head.truth[0], head.mask[0])
    with pytest.raises(ParameterError, match="did you mean 'community'"):
        evaluate(**good, variant="comunity")
    head.truth[22, 20, 30] = np.nan
    with pytest.raises(DataError, match="truth: values in the mask are not finite"):
        evaluate(**good)


def scores_of(**values):
    return Scores({name: values.get(name, 1.0) for name in OFFICIAL_METRICS})


def test_combination_takes_means_but_the_calcification_from_the_second():
    first = scores_of(nrmse=40.0, calcification_streaking=9.0)
    first.withhold("calcification_moment_deviation", "no calcification")
    second = scores_of(nrmse=60.0, calcification_streaking=0.1, calcification_moment_deviation=7.0)
    combined = combine_cases(first, second)
    assert list(combined.values) == list(OFFICIAL_METRICS)
    assert combined.values["nrmse"] == 50.0
    assert combined.values["calcification_streaking"] == 0.1
    assert combined.values["calcification_moment_deviation"] == 7.0
    assert not combined.reasons


def test_combination_keeps_what_is_missing():
    first, second = scores_of(), scores_of()
    first.withhold("dnrmse_blood", "no blood")
    second.withhold("calcification_streaking", "no label map was given")
    combined = combine_cases(first, second)
    assert combined.values["dnrmse_blood"] is None
    assert combined.reasons == {
        "dnrmse_blood": "SIM1: no blood",
        "calcification_streaking": "SIM2: no label map was given",
    }


def test_top_five_appearances():
    # map k has NRMSE k, and equals all others in the other seven metrics
    scores = [scores_of(nrmse=float(k)) for k in range(7)]
    assert top_five_appearances(scores) == [8, 8, 8, 8, 8, 7, 7]
    scores[0].withhold("dnrmse_tissue", "no labels")
    assert top_five_appearances(scores)[0] == 7


def test_rank_by_appearances_then_error():
    scores = [scores_of(nrmse=float(k), dnrmse=float(-k)) for k in (6, 5, 4, 3, 2, 1, 0)]
    standings = rank(scores)
    # the middle three are among the best five in all metrics; the outer four miss one
    assert [standing.index for standing in standings] == [4, 3, 2, 6, 5, 1, 0]
    assert [standing.place for standing in standings] == [1, 2, 3, 4, 5, 6, 7]
    assert [standing.top_five_appearances for standing in standings] == [8, 8, 8, 7, 7, 7, 7]
    assert [standing.place for standing in rank([scores[0], scores[0], scores[1]])] == [1, 2, 2]


@given(st.lists(st.lists(st.integers(0, 4), min_size=8, max_size=8), min_size=1, max_size=9))
def test_ranking_properties(table):
    scores = [Scores(dict(zip(OFFICIAL_METRICS, map(float, row), strict=True))) for row in table]
    standings = rank(scores)
    assert sorted(standing.index for standing in standings) == list(range(len(table)))
    counts = top_five_appearances(scores)
    assert sum(counts) >= 8 * min(5, len(table))
    best = scores[standings[0].index]
    assert standings[0].place == 1
    for standing in standings:
        assert standing.top_five_appearances == counts[standing.index] <= 8
        assert standing.top_five_appearances <= standings[0].top_five_appearances
        if standing.top_five_appearances == standings[0].top_five_appearances:
            assert best.values["nrmse"] <= scores[standing.index].values["nrmse"]
