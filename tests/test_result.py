"""What a solver returns, and its zero point."""

import numpy as np
import pytest

from qsm_recon.result import Reconstruction, referenced


@pytest.fixture
def chi_and_mask():
    rng = np.random.default_rng(0)
    mask = rng.random((4, 5, 6)) < 0.7
    return rng.standard_normal((4, 5, 6)).astype(np.float32), mask


def test_mean_over_the_region_becomes_zero(chi_and_mask):
    chi, mask = chi_and_mask
    region = mask & (chi > 0)
    found = referenced(chi, mask, region)
    assert found.dtype == np.float32
    assert found[region].mean(dtype=np.float64) == pytest.approx(0, abs=1e-6)
    assert not found[~mask].any()
    assert np.allclose(np.diff(found[mask]), np.diff(chi[mask]), atol=1e-6)


def test_without_a_region_only_the_mask_applies(chi_and_mask):
    chi, mask = chi_and_mask
    assert np.array_equal(referenced(chi, mask, None), np.where(mask, chi, 0))


def test_further_details_leave_the_rest(chi_and_mask):
    chi, mask = chi_and_mask
    result = Reconstruction(chi, mask, "tkd", {"threshold": 0.1}, True, "closed form", details={"a": 1})
    more = result.with_details(b=2)
    assert more.details == {"a": 1, "b": 2}
    assert result.details == {"a": 1}
    assert more.susceptibility_ppm is chi
