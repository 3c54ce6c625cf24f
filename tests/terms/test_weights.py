"""Data weights: scale-free, and no wider than the images they come from."""

import numpy as np
import pytest
from oracles.cases import SmallCase

from qsm_recon.terms.weights import data_weight


@pytest.mark.parametrize("normalisation", ["rms", "max", "none"])
@pytest.mark.parametrize("weighting", ["uniform", "mask", "magnitude", "magnitude-squared"])
def test_weights_stay_in_single_precision(weighting, normalisation):
    case = SmallCase()
    problem = case.problem(magnitude=case.magnitude.astype(np.float32))
    weight, _ = data_weight(problem, weighting, normalisation)
    assert weight.dtype == np.float32


@pytest.mark.parametrize("weighting", ["magnitude", "magnitude-squared"])
def test_scale_of_the_magnitude_does_not_matter(weighting):
    case = SmallCase()
    weights = [data_weight(case.problem(magnitude=s * case.magnitude), weighting)[0] for s in (1.0, 4000.0)]
    assert np.allclose(weights[0], weights[1], rtol=1e-5)
    assert np.mean(np.square(weights[0][case.mask], dtype=np.float64)) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("share", [0.1, 0.8])
def test_noise_of_zero_is_unknown_and_has_no_weight(share, caplog):
    case = SmallCase()
    rng = np.random.default_rng(1)
    noise = np.where(rng.random(case.mask.shape) < share, 0, 0.002)
    problem = case.problem(field_noise_ppm=noise)
    weight, _ = data_weight(problem, "noise")
    assert np.array_equal(weight > 0, case.mask & (noise > 0))
    said = [note for note in problem.notes if "field_noise_ppm: it is 0, which counts as unknown" in note]
    assert len(said) == (share > 0.5)
    assert ("counts as unknown" in caplog.text) == (share > 0.5)
