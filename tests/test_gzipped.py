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
from qsm_recon.run import main as run

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


def write(path, tail=b"", *, complex_valued=False):
    values = np.random.default_rng(2).standard_normal((20, 21, 40)).astype(np.float32)
    if complex_valued:
        values = (values + 2j * values[::-1]).astype(np.complex64)
    content = gzip.compress(nibabel.Nifti1Image(values, AFFINE).to_bytes())
    path.write_bytes(content + tail)
    return values, bytearray(content)


TAILS = {"bytes": b"abc", "text": b"garbage" * 50_000, "zeros": bytes(512), "zeros, text": bytes(512) + b"garbage"}


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_what_follows_the_compressed_data_is_left_aside(tmp_path, tail):
    """As gzip leaves it."""
    values, _ = write(tmp_path / "image.nii.gz", tail)
    assert_array_equal(load_image(tmp_path / "image.nii.gz").data, values)


@pytest.mark.parametrize("tail", [b"", b"garbage" * 50])
@pytest.mark.parametrize("complex_valued", [False, True])
def test_a_damaged_file_is_refused_whatever_follows(tmp_path, tail, complex_valued):
    path = tmp_path / "image.nii.gz"
    values, content = write(path, complex_valued=complex_valued)
    part = "magnitude" if complex_valued else None
    assert_array_equal(load_image(path, part=part).data, np.abs(values) if complex_valued else values)
    for place in (len(content) // 2, -8):  # the data, and the sum that checks them
        damaged = content.copy()
        damaged[place] ^= 1
        path.write_bytes(damaged + tail)
        with pytest.raises(DataError, match=r"image\.nii\.gz: .*compressed data are damaged \(.*\); copy it again"):
            load_image(path, part=part)
    path.write_bytes(content[:-4])
    with pytest.raises(DataError, match="compressed data end in the middle; is it complete"):
        load_image(path, part=part)


def test_the_command_reads_them_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    field = 0.01 * np.random.default_rng(3).standard_normal((16, 16, 16)).astype(np.float32)
    plain = save_image(tmp_path / "field.nii.gz", field, np.eye(4))
    save_image(tmp_path / "mask.nii.gz", np.ones(field.shape, bool), np.eye(4))
    (tmp_path / "tail.nii.gz").write_bytes(plain.read_bytes() + b"garbage")
    for name in ("field", "tail"):
        words = ["--field", f"{name}.nii.gz", "--field-unit", "ppm", "--mask", "mask.nii.gz", "--out", name]
        assert run([*words, "--algo", "tkd", "--quiet"]) == 0
    assert_array_equal(load_image("tail/chi.nii.gz").data, load_image("field/chi.nii.gz").data)


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
