"""The published properties, at full size."""

import pytest

from qsm_recon.phantom import PhantomParameters, build_phantom
from qsm_recon.phantom.properties import PUBLISHED, TOLERANCE, published_properties


@pytest.mark.slow
@pytest.mark.parametrize("case", ["sim1", "sim2"])
def test_published_properties_are_met(case):
    phantom = build_phantom(PhantomParameters(case=case), cache=False)
    assert phantom.mask.shape == (164, 205, 205)
    for name, found in published_properties(phantom).items():
        assert found == pytest.approx(PUBLISHED[case][name], rel=TOLERANCE), name
