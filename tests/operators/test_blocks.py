"""Means over blocks of voxels."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from qsm_recon.operators.blocks import block_means


@pytest.mark.parametrize("shape", [(8, 9, 10), (7, 3, 1)])
@pytest.mark.parametrize("factors", [(1, 1, 1), (2, 3, 4), (4, 1, 3), (9, 9, 9)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_means_count_what_is_beyond_the_image_as_zero(shape, factors, dtype):
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    before = image.copy()
    found = block_means(image, factors, dtype)
    expected = np.zeros([-(-n // factor) for n, factor in zip(shape, factors, strict=True)])
    for place in np.ndindex(*shape):
        expected[tuple(i // factor for i, factor in zip(place, factors, strict=True))] += image[place]
    assert found.dtype == dtype
    assert_allclose(found, expected / np.prod(factors), atol=1e-6 if dtype == np.float32 else 1e-14)
    assert (image == before).all()
