"""Means over blocks of voxels, and sums around each."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import ndimage

from qsm_recon.operators.blocks import block_means, box_sums


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


@pytest.mark.parametrize("shape", [(8, 9, 10), (7, 3, 1), (1, 2, 5)])
@pytest.mark.parametrize("reach", [0, 1, 3])
def test_sums_around_a_voxel_count_what_is_beyond_the_image_as_zero(shape, reach):
    image = np.random.default_rng(0).integers(0, 5, shape).astype(np.int16)
    before = image.copy()
    found = box_sums(image, reach)
    width = 2 * reach + 1
    means = ndimage.uniform_filter(image.astype(np.float64), width, mode="constant")
    assert (found == np.rint(means * width**3)).all()
    assert (image == before).all()
