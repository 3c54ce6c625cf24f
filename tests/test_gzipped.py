"""Compressed images: the same voxels whoever writes and reads them, by either library."""

import gzip
import sys

import nibabel
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from qsm_recon import gzipped
from qsm_recon.errors import DataError
from qsm_recon.io import load_image, load_mask, save_image

AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])


@pytest.fixture(params=["isal", "zlib"], autouse=True)
def library(request, monkeypatch):
    """Either library, the second as where the first cannot be imported."""
    if request.param == "isal":
        pytest.importorskip("isal")
    else:
        monkeypatch.setitem(sys.modules, "isal", None)
    gzipped.library.cache_clear()
    yield request.param
    gzipped.library.cache_clear()


def test_the_library_is_the_one_that_is_there(library):
    assert gzipped.library().__name__ == {"isal": "isal.igzip", "zlib": "gzip"}[library]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, bool])
def test_what_is_written_is_what_nibabel_writes(tmp_path, dtype):
    values = (100 * np.random.default_rng(0).standard_normal((5, 6, 70))).astype(dtype)
    path = save_image(tmp_path / "image.nii.gz", values, AFFINE)
    plain = save_image(tmp_path / "image.nii", values, AFFINE)  # by nibabel
    assert gzip.decompress(path.read_bytes()) == plain.read_bytes()
    assert_array_equal(np.asarray(nibabel.load(path).dataobj), values)
    again = save_image(tmp_path / "again.nii.gz", values, AFFINE)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("shape", [(5, 6, 70), (5, 6, 7, 4), (3, 4, 33, 2, 1), (4, 5, 1), (2, 3, 40, 1)])
@pytest.mark.parametrize("stored", ["<f4", ">f4", "<f8", "<i2", ">i4", "u1"])
@pytest.mark.parametrize("scale", [(1.0, 0.0), (0.25, -3.0)])
def test_what_is_read_is_what_nibabel_reads(tmp_path, shape, stored, scale):
    values = np.random.default_rng(1).integers(0, 100, shape).astype(stored)
    image = nibabel.Nifti1Image(values, AFFINE, dtype=np.dtype(stored))
    image.header.set_slope_inter(*scale)
    (tmp_path / "image.nii.gz").write_bytes(gzip.compress(image.to_bytes()))
    expected = np.asarray(nibabel.load(tmp_path / "image.nii.gz").dataobj)
    found = load_image(tmp_path / "image.nii.gz", dtype=None, ndim=None).data
    assert found.dtype == expected.dtype
    assert found.flags.c_contiguous
    assert_array_equal(found, expected.reshape(found.shape))
    single = load_image(tmp_path / "image.nii.gz", ndim=None).data
    assert single.dtype == np.float32
    assert_array_equal(single, expected.reshape(found.shape).astype(np.float32))


def test_files_of_several_members_are_read_whole(tmp_path):
    """As bgzip and ``cat`` write them."""
    values = np.arange(5 * 6 * 70, dtype=np.float32).reshape(5, 6, 70)
    content = nibabel.Nifti1Image(values, AFFINE).to_bytes()
    parts = [gzip.compress(content[start : start + 1000]) for start in range(0, len(content), 1000)]
    (tmp_path / "image.nii.gz").write_bytes(b"".join(parts))
    assert_array_equal(load_image(tmp_path / "image.nii.gz").data, values)


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_file_that_is_cut_short_is_refused(tmp_path, share):
    values = np.random.default_rng(2).standard_normal((20, 20, 20)).astype(np.float32)
    path = save_image(tmp_path / "image.nii.gz", values, AFFINE)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match="not a readable NIfTI image"):
        load_image(path)
    whole = gzip.decompress(content)
    path.write_bytes(gzip.compress(whole[: int(share * len(whole))]))
    with pytest.raises(DataError, match="ends before its last voxel"):
        load_image(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_masks_are_told_from_other_images_in_every_type(tmp_path, dtype):
    values = np.zeros((4, 5, 6), dtype)
    values[1:3, 1:4, 2:5] = 3
    assert_array_equal(load_mask(save_image(tmp_path / "mask.nii.gz", values, AFFINE)).data, values == 3)
    values[0, 0, 0] = 1
    with pytest.raises(DataError, match="found 3 values from 0 to 3"):
        load_mask(save_image(tmp_path / "labels.nii.gz", values, AFFINE))
