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


# ---- how results show themselves ----


def reconstruction(chi, mask, **changes):
    values = {"parameters": {"weight": 3e-4, "edges": np.ones((2, 3))}, "converged": True, "stop_reason": "small steps"}
    return Reconstruction(chi, mask, "fansi", **{**values, "iterations": 120, "timings_s": {"solve": 1.25}, **changes})


def test_repr_is_one_short_line_that_says_the_most(chi_and_mask):
    chi, mask = chi_and_mask
    low, high = np.percentile(chi[mask], (1, 99))
    text = repr(reconstruction(chi, mask))
    expected = f"4×5×6 voxels, χ from {low:.3g} to {high:.3g} ppm, converged after 120 iterations"
    assert text == f"<Reconstruction 'fansi': {expected}>"
    failed = repr(reconstruction(chi, mask, converged=False, stop_reason="at most 120 iterations"))
    assert failed.endswith("NOT CONVERGED after 120 iterations: at most 120 iterations>")
    chi = np.where(mask, np.nan, chi)
    assert "χ from nan to nan ppm" in repr(reconstruction(chi, mask)), "NaN must show"


def test_html_summary_escapes_all_text_and_leaves_out_what_is_empty(chi_and_mask):
    chi, mask = chi_and_mask
    details = {"warnings": ["<script>alert(1)</script> & more"]}
    page = reconstruction(chi, mask, details=details, images={"background_<b>": chi})._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page
    assert "background_&lt;b&gt;" in page
    assert "weight=0.0003, edges=array of 2×3" in page
    assert "solve 1.2" in page
    assert len(page) < 2000
    assert "warnings" not in reconstruction(chi, mask)._repr_html_()
