"""Which scores depend on the zero point, and what `evaluate` says of it."""

import numpy as np
import pytest

from qsm_recon.evaluate import main
from qsm_recon.io import save_image
from qsm_recon.metrics import evaluate
from qsm_recon.metrics.zero_point import zero_point

OFFSET_PPM = 0.05
DEPENDENT = {
    # The moment counts ppm times voxels; in the community's definition the dilated blood leaves the mask, where both
    # maps are zero.  The streaks are those of what lies below a threshold in ppm.
    "rc2": {"calcification_moment_deviation", "calcification_streaking", "ssim", "xsim", "hfen", "mad"},
    "community": {
        "dnrmse_blood", "calcification_moment_deviation", "calcification_streaking", "ssim", "xsim", "hfen", "mad",
    },
}  # fmt: skip


@pytest.mark.parametrize("variant", ["rc2", "community"])
def test_which_scores_depend_on_the_zero_point(head, variant):
    case = (head.truth, head.mask, head.labels)
    plain, shifted = (
        evaluate(head.reconstruction + offset, *case, variant=variant).values for offset in (0, OFFSET_PPM)
    )
    changed = {name for name, value in plain.items() if abs(value - shifted[name]) > 1e-6 * abs(value)}
    assert changed - {"calcification_streaking"} == DEPENDENT[variant] - {"calcification_streaking"}


def test_the_community_scorer_depends_on_it_and_counts_nan_as_zero(head):
    """The statements of docs/metrics.md about the installed scorer."""
    scorer = pytest.importorskip("qsm_ci.qsm_eval").score_arrays
    truth = np.where(head.mask, head.truth, 0)
    perfect, shifted = (scorer(truth + offset, truth, head.mask, seg=head.labels)[0] for offset in (0, OFFSET_PPM))
    assert shifted["nrmse"] == pytest.approx(0, abs=1e-9)
    assert perfect["xsim"] == pytest.approx(1)
    assert shifted["xsim"] < 0.5
    assert perfect["hfen"] == pytest.approx(0, abs=1e-9)
    assert shifted["hfen"] > 5
    changed = {name for name in perfect if abs(perfect[name] - shifted[name]) > 1e-6}
    assert changed == {"nrmse_blood", "calc_moment_dev", "xsim", "hfen"}
    holes = np.where(np.random.default_rng(1).random(truth.shape) < 0.1, np.nan, head.reconstruction)
    with_nan, with_zero = (
        scorer(image, truth, head.mask, seg=head.labels)[0] for image in (holes, np.nan_to_num(holes))
    )
    assert with_nan == pytest.approx(with_zero)


@pytest.mark.parametrize("variant", ["rc2", "community"])
def test_aligned_scores_are_those_of_the_shifted_map(head, variant):
    case = (head.truth, head.mask, head.labels)
    scores = evaluate(head.reconstruction, *case, variant=variant)
    found = zero_point(head.reconstruction, head.truth, head.mask, scores, variant=variant)
    offset = head.reconstruction[head.mask].mean() - head.truth[head.mask].mean()
    assert found.mean_ppm - found.truth_mean_ppm == pytest.approx(offset)
    expected = evaluate(head.reconstruction - offset, *case, variant=variant).values
    assert found.as_given == {name: scores.values[name] for name in ("xsim", "mad")}
    assert found.aligned == pytest.approx({name: expected[name] for name in ("xsim", "mad")})
    assert found.matters


@pytest.mark.parametrize(
    ("offset", "matters"), [(0.0, False), (5e-5, False), (5e-4, False), (5e-3, True), (-0.05, True)]
)
def test_only_an_offset_that_moves_a_score_matters(head, offset, matters):
    image = head.truth + offset
    found = zero_point(image, head.truth, head.mask, evaluate(image, head.truth, head.mask))
    assert found.matters is matters


def test_evaluate_warns_when_the_means_differ(head, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    truth = head.truth.astype(np.float32)
    images = {"truth": truth, "mask": head.mask, "same": truth, "shifted": truth + np.float32(OFFSET_PPM)}
    for name, image in images.items():
        save_image(f"{name}.nii.gz", image, np.eye(4))
    case = ["--truth", "truth.nii.gz", "--mask", "mask.nii.gz", "--no-figure"]
    assert main(["same.nii.gz", *case]) == 0
    assert capsys.readouterr().err == ""
    assert main(["same.nii.gz", "shifted.nii.gz", *case]) == 0
    (said,) = capsys.readouterr().err.splitlines()
    mean = truth[head.mask].mean()
    assert said.startswith(f"shifted.nii.gz: its mean over the mask is {mean + OFFSET_PPM:.4g} ppm, the truth's")
    assert "with equal means they would be xsim 1, mad" in said
