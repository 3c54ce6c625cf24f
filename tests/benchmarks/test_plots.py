"""Figures show the numbers that they are of."""

import numpy as np
import pytest

from benchmarks.suite import plots
from benchmarks.suite.record import METRICS, Record
from benchmarks.suite.standings import Submission
from benchmarks.suite.table import SHORT
from qsm_recon.metrics import OFFICIAL_METRICS, Scores


def submission(name, nrmse, place=1, given="fit", **metrics):
    record = Record("key", {"solver": name})
    scores = Scores(dict.fromkeys(METRICS, nrmse) | metrics)
    return Submission(f"`{name}`", "class", given, "", {"SIM2": record}, scores, top_five=3, place=place)


def test_leaders_are_one_of_each_method():
    found = [submission("a", 30.0, 2), submission("a", 29.0, 1, "difference"), submission("b", 31.0, 3)]
    found.append(Submission("`c`", "class", "fit", "", {"SIM2": Record("k", {"solver": "c"}, failed="so")}, Scores()))
    assert [(one.solver, one.given) for one in plots.leaders(found)] == [("a", "difference"), ("b", "fit")]


def test_spider_is_the_best_over_the_value():
    found = [submission("a", 20.0, 1, dnrmse_blood=40.0), submission("b", 40.0, 2, dnrmse_blood=10.0)]
    axis = plots.spider(found, "t").axes[0]
    angles = len(OFFICIAL_METRICS)
    first, second = (line.get_ydata()[:angles] for line in axis.lines)
    blood = OFFICIAL_METRICS.index("dnrmse_blood")
    assert first[0] == 1.0
    assert first[blood] == 0.25
    assert second[0] == 0.5
    assert second[blood] == 1.0


def test_differences_of_noise_levels_have_their_sign():
    low = [submission("a", 30.0), submission("b", 40.0)]
    high = [submission("b", 32.0), submission("a", 24.0)]
    axis = plots.bland_altman(low, high, ("low", "high"), "t").axes[0]
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axis.lines if line.get_linestyle() == "None"]
    assert points == [(27.0, -6.0), (36.0, -8.0)]
    levels = sorted(line.get_ydata()[0] for line in axis.lines if line.get_linestyle() != "None")
    spread = 1.96 * np.std([-6, -8], ddof=1)
    assert levels == pytest.approx([-7 - spread, -7, -7 + spread])
    assert axis.get_ylabel() == "high less low (%)"


def test_stages_pair_the_same_submission():
    first = [submission("d", 20.0), submission("a", 30.0), submission("b", 40.0)]
    axis = plots.stages(first, [submission("b", 35.0), submission("c", 1.0), submission("d", 19.0)], "t").axes[0]
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axis.lines if line.get_marker() == "o"]
    assert points == [(35.0, 0), (40.0, 0), (19.0, 1), (20.0, 1)]  # the best on top
    assert [label.get_text() for label in axis.get_yticklabels()] == ["b", "d"]


def test_correlation_is_signed_so_that_more_is_worse():
    found = [submission(str(n), float(n), xsim=1.0 - n / 10, cc=n / 10, hfen=5.0) for n in range(1, 5)]
    image = plots.metric_correlation(found, "t").axes[0].images[0].get_array().filled(np.nan)
    nrmse, xsim, cc, hfen = (METRICS.index(name) for name in ("nrmse", "xsim", "cc", "hfen"))
    assert image[nrmse, xsim] == pytest.approx(1.0)
    assert image[nrmse, cc] == pytest.approx(-1.0)
    assert np.isnan(image[nrmse, hfen])
    np.testing.assert_array_equal(image, image.T)


def test_scatter_matrix_has_a_point_for_each_submission():
    found = [submission("a", 30.0), submission("b", 40.0, given="difference")]
    axes = plots.scatter_matrix(found, "t").axes
    size = len(plots.SCATTERED)
    below = axes[size]
    assert below.get_ylabel().startswith(SHORT[plots.SCATTERED[1]])
    assert [line.get_marker() for line in below.lines] == ["o", "s"]


def test_error_panels_are_map_less_truth():
    truth = np.zeros((9, 11, 13))
    truth[4, 5, 6] = 1.0
    mask = np.ones_like(truth, bool)
    wrong = truth + 0.5
    wrong[4, 5, 6] = 0.0
    axes = plots.top_five([submission("a", 30.0)], [wrong], truth, mask, "t").axes
    axial_error = axes[3].images[0].get_array()
    expected = (wrong - wrong.mean()) - (truth - truth.mean())
    np.testing.assert_allclose(axial_error[5, 4], expected[4, 5, 6])
    np.testing.assert_allclose(axial_error[0, 0], expected[0, 0, 6])


def test_panels_name_left_and_right():
    """Axes said "seen from above", from which everyone took the side that he was used to."""
    image = np.zeros((9, 11, 13))
    axes = plots.top_five([submission("a", 30.0)], [image], image, np.ones_like(image, bool), "t").axes
    letters = [[text.get_text() for text in axes[place].texts] for place in (0, 1, 3, 4, 5, 7)]
    assert letters == [["L", "R", "P", "A"]] * 3 + [["P", "A", "I", "S"]] * 3
    assert [axes[place].get_ylabel() for place in (0, 4)] == ["χ, axial, k = 6", "χ, sagittal, i = 4"]


def test_titles_say_what_is_shown():
    found = [submission(name, 30.0 + n, n) for n, name in enumerate("abc", 1)]
    pair = ("low", "high")
    figures = [
        plots.spider(found, "SIM2: by auto"), plots.stages(found, found, "SIM2: by auto"),
        plots.bland_altman(found, found, pair, "SIM2: by auto"), plots.scatter_matrix(found, "SIM2: by auto"),
    ]  # fmt: skip
    assert all(figure.get_suptitle().startswith("SIM2: by auto") for figure in figures)
    assert plots.metric_correlation(found, "SIM2: by auto").axes[0].get_title().startswith("SIM2: by auto\n")
