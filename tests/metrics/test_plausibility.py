"""A map of the wrong sign is noticed in a head, and nowhere else."""

import numpy as np
import pytest

from qsm_recon.metrics.plausibility import inverted

SHAPE = (40, 40, 40)
MASK = np.ones(SHAPE, bool)


def head(*, veins=0.02, calcified=0.0, darker=0.7, seed=0):
    """Tissue, a few strong and dark veins, and calcifications, darker still."""
    rng = np.random.default_rng(seed)
    chi, magnitude = 0.02 * rng.standard_normal(SHAPE), rng.uniform(0.9, 1.1, SHAPE)
    for share, value, signal in ((veins, 0.2, darker), (calcified, -0.8, 0.3)):
        places = rng.random(SHAPE) < share
        chi[places] += value
        magnitude[places] *= signal
    return chi, magnitude


def test_veins_that_are_negative_are_noticed():
    chi, magnitude = head()
    assert inverted(chi, MASK, magnitude) is None
    assert "--phase-sign" in inverted(-chi, MASK, magnitude)


@pytest.mark.parametrize(
    "case",
    [
        head(calcified=0.0005),  # a calcification among veins
        head(veins=0.0),  # nothing strong at all
        head(veins=0.0, darker=1.0, seed=3),
        head(darker=1.0),  # a phantom: strong, not dark
    ],
)
def test_no_false_alarm(case):
    chi, magnitude = case
    assert inverted(chi, MASK, magnitude) is None


def test_without_a_magnitude_nothing_is_said():
    chi, _ = head()
    assert inverted(-chi, MASK, None) is None
    assert inverted(np.zeros(SHAPE), MASK, np.ones(SHAPE)) is None


@pytest.mark.parametrize("name", ["sim1", "sim2"])
def test_the_phantom_and_its_inverse(name):
    from qsm_recon.phantom import PhantomParameters, build_phantom

    phantom = build_phantom(PhantomParameters(case=name, size="reduced", voxel_size_mm=(4.0, 4.0, 4.0)), cache=False)
    magnitude = np.linalg.norm(np.abs(phantom.echoes), axis=-1)
    assert inverted(phantom.susceptibility_ppm, phantom.mask, magnitude) is None
    assert inverted(-phantom.susceptibility_ppm, phantom.mask, magnitude) is not None
