"""The Fourier transforms against numpy's, with and without pyFFTW."""

import gc
import itertools
import json
import logging
import mmap
import os
import sys
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import relative_error

from qsm_recon.backend import fft
from qsm_recon.backend.fft import FourierTransform, aligned_zeros, fast_length
from qsm_recon.backend.transforms import fourier_transform

SHAPES = [(8, 6, 10), (7, 5, 9), (8, 5, 9), (7, 6, 10), (1, 4, 6), (5, 1, 3), (4, 3, 1), (17, 13, 32)]
ROUNDING = {"float32": 1e-6, "float64": 1e-14}


def random_image(shape, dtype):
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


def assert_agrees_with_numpy(transform, image):
    tolerance = ROUNDING[transform.dtype.name]
    expected = np.fft.rfftn(image.astype(np.float64))
    spectrum = transform.forward(transform.load_image(image), transform.empty_spectrum())
    view = transform.spectrum_view(spectrum)
    assert view.dtype == transform.complex_dtype
    assert relative_error(view.view(transform.dtype), expected.view(np.float64)) < tolerance
    back = transform.image_view(transform.inverse(spectrum, transform.empty_image()))
    assert back.dtype == image.dtype
    assert relative_error(back / transform.n_voxels, image) < tolerance


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_numpy(shape, dtype):
    assert_agrees_with_numpy(FourierTransform(shape, dtype), random_image(shape, dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_numpy_where_pyfftw_is_missing(shape, dtype, without_pyfftw):
    transform = FourierTransform(shape, dtype)
    assert isinstance(transform.blocks(), fft._ScipyBlocks)
    assert_agrees_with_numpy(transform, random_image(shape, dtype))
    assert fft.library_name().startswith("scipy.fft")


def test_uses_pyfftw_where_it_is_installed():
    pytest.importorskip("pyfftw")
    assert isinstance(FourierTransform((4, 4, 4)).blocks(), fft._FFTWBlocks)
    assert fft.library_name().startswith("pyfftw")


def test_says_once_that_pyfftw_is_missing(without_pyfftw, caplog):
    caplog.set_level(logging.INFO, logger="qsm_recon")
    for shape in SHAPES[:3]:
        FourierTransform(shape).blocks()
    assert [record.message for record in caplog.records] == [
        "pyFFTW is not importable: Fourier transforms run on scipy.fft, which is slower"
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_does_not_depend_on_the_number_of_threads(dtype, threads):
    shape = (19, 11, 14)
    image = random_image(shape, dtype)
    spectra = []
    for count in (1, 2, 3, 7, 40):
        threads(count)
        transform = FourierTransform(shape, dtype)
        spectra.append(transform.forward(transform.load_image(image), transform.empty_spectrum()))
    for spectrum in spectra[1:]:
        assert np.abs(spectrum - spectra[0]).max() < 10 * ROUNDING[dtype] * np.abs(spectra[0]).max()


def test_padding_of_the_buffers_does_not_matter():
    transform = FourierTransform((6, 5, 7), "float64")
    image = random_image(transform.shape, "float64")
    buffer = transform.empty_image()
    buffer[...] = np.nan
    transform.image_view(buffer)[...] = image
    spectrum = transform.forward(buffer, transform.empty_spectrum())
    assert np.allclose(transform.spectrum_view(spectrum), np.fft.rfftn(image), rtol=1e-12, atol=1e-12)


def test_same_transform_is_made_once():
    assert fourier_transform((6, 6, 6), "float32") is fourier_transform((6, 6, 6), "float32")
    assert fourier_transform((6, 6, 6), "float32") is not fourier_transform((6, 6, 6), "float64")


@pytest.mark.parametrize("shape", [(3,), (2, 3, 5), (1, 1, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.complex128, np.uint8])
def test_aligned_zeros(shape, dtype):
    array = aligned_zeros(shape, dtype)
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.ctypes.data % fft.ALIGNMENT_BYTES == 0
    assert not array.any()


FAST_LENGTHS = sorted(2**a * 3**b * 5**c for a, b, c in itertools.product(range(12), range(8), range(6)))


@given(st.integers(1, 2000))
def test_fast_length_is_the_next_product_of_2_3_and_5(n):
    assert fast_length(n) == next(length for length in FAST_LENGTHS if length >= n)


# ---- wisdom ----

SCRIPT = """
import numpy as np
from qsm_recon.backend.fft import FourierTransform, _load_fftw
from qsm_recon.backend.cache_folder import cache_folder
transform = FourierTransform((6, 5, 8))
image = np.random.default_rng(0).standard_normal((6, 5, 8)).astype(np.float32)
found = transform.forward(transform.load_image(image), transform.empty_spectrum())
assert np.allclose(transform.spectrum_view(found), np.fft.rfftn(image), atol=1e-4)
print(cache_folder("fft"))
"""


@pytest.mark.parametrize(
    "content",
    [b"\x00\xff garbage", b"", b"[]", b"{}", b"null", b"7", b"[1, 2, 3]", b'["a"]', b'["a", "b", "c"]', b'{"a": 1}'],
)
def test_any_wisdom_file_is_accepted(tmp_path, monkeypatch, content):
    path = tmp_path / "wisdom.json"
    path.write_bytes(content)
    monkeypatch.setattr(fft, "_wisdom_file", lambda: path)
    assert fft._load_fftw.__wrapped__() is sys.modules["pyfftw"]


def test_wisdom_is_kept_between_runs(tmp_path, run_python):
    pytest.importorskip("pyfftw")
    assert run_python(SCRIPT, QSM_RECON_CACHE=str(tmp_path)).strip() == str(tmp_path / "fft")
    path = tmp_path / "fft" / "wisdom.json"
    stored = json.loads(path.read_text("utf-8"))
    assert any("fftwf_codelet" in text for text in stored)
    assert [file.name for file in path.parent.iterdir()] == ["wisdom.json"]
    written = path.stat().st_mtime_ns
    run_python(SCRIPT, QSM_RECON_CACHE=str(tmp_path))
    assert path.stat().st_mtime_ns == written, "the second run planned afresh"


def test_corrupt_wisdom_is_replaced(tmp_path, run_python):
    pytest.importorskip("pyfftw")
    path = tmp_path / "fft" / "wisdom.json"
    path.parent.mkdir()
    path.write_bytes(b"\x00\xff not JSON")
    run_python(SCRIPT, QSM_RECON_CACHE=str(tmp_path))
    assert len(json.loads(path.read_text("utf-8"))) == 3


def test_works_where_the_cache_folder_cannot_be_made(tmp_path, run_python):
    obstacle = tmp_path / "file"
    obstacle.write_text("a file is in the way")
    kernel = "\nfrom qsm_recon.backend.kernels.image import replace_planes\n" + (
        "a = np.zeros((2, 2, 2)); assert replace_planes(a, a + 1, 0, 2) == (8, 8); assert a.all()\n"
    )
    assert run_python(SCRIPT + kernel, QSM_RECON_CACHE=str(obstacle)).strip() == "None"
    assert obstacle.read_text() == "a file is in the way"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind this user")
def test_works_where_the_cache_folder_is_read_only(tmp_path, run_python):
    tmp_path.chmod(0o500)
    try:
        assert run_python(SCRIPT, QSM_RECON_CACHE=str(tmp_path)).strip() == "None"
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("library", ["pyfftw", "scipy"])
def test_no_plan_holds_on_to_the_arrays_that_it_was_given(library, monkeypatch):
    """The buffers of a solve stayed in memory after it, and those of the search for a constant during it."""
    if library == "pyfftw":
        pytest.importorskip("pyfftw")
    else:
        monkeypatch.setattr(fft, "_load_fftw", lambda: None)
    transform = FourierTransform((8, 10, 12))
    image, spectrum = transform.empty_image(), transform.empty_spectrum()
    image[...] = np.random.default_rng(0).standard_normal(image.shape)
    before = image.copy()
    transform.inverse(transform.forward(image, spectrum), image)
    assert np.allclose(transform.image_view(image) / transform.n_voxels, transform.image_view(before), atol=1e-5)
    owners = [weakref.ref(array.base) for array in (image, spectrum)]
    del image, spectrum
    gc.collect()
    assert [owner() for owner in owners] == [None, None]


def test_planning_leaves_nothing_on_the_heaps_of_threads(monkeypatch):
    """Each thread kept as much as a volume after it had planned, which the C library does not give back."""
    pytest.importorskip("pyfftw")
    planned_on = []

    def recorded(array):
        made = same_layout(array)
        planned_on.append(made)
        return made

    same_layout = fft._same_layout
    monkeypatch.setattr(fft, "_same_layout", recorded)
    transform = FourierTransform((6, 10, 14))
    spectrum = transform.forward(transform.empty_image(), transform.empty_spectrum())
    transform.inverse(spectrum, transform.empty_image())
    assert len(planned_on) >= 4
    for array in planned_on:
        owner = array
        while not isinstance(owner, memoryview):
            owner = owner.base
        assert isinstance(owner.obj, mmap.mmap)
