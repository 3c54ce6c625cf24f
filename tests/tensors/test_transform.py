"""The transform on tensors against that on arrays, and how a device is asked for."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from oracles import relative_error

torch = pytest.importorskip("torch", reason="torch is not installed (the extra 'torch'; make test-torch)")

from qsm_recon.backend import arrays, device
from qsm_recon.backend.device import TORCH_CPU, device_name, on_device, set_device
from qsm_recon.backend.fft import FourierTransform
from qsm_recon.backend.tensors.transform import TensorTransform
from qsm_recon.backend.transforms import fourier_transform
from qsm_recon.errors import MissingDependencyError, ParameterError, ResourceError

SHAPES = [(8, 6, 10), (7, 5, 9), (8, 5, 9), (7, 6, 10), (1, 4, 6), (5, 1, 3), (4, 3, 1), (17, 13, 32)]
ROUNDING = {"float32": 1e-6, "float64": 1e-14}
both_precisions = pytest.mark.parametrize("dtype", ["float32", "float64"])


def random_image(shape, dtype, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def real_parts(spectrum):
    return np.stack([spectrum.real, spectrum.imag])


@both_precisions
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_the_transform_on_arrays(shape, dtype):
    image = random_image(shape, dtype)
    here, there = FourierTransform(shape, dtype), TensorTransform(shape, dtype)
    expected = here.spectrum_view(here.forward(here.load_image(image), here.empty_spectrum()))
    spectrum = there.empty_spectrum()
    assert there.forward(there.load_image(image), spectrum) is spectrum
    found = arrays.host(there.spectrum_view(spectrum))
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert relative_error(real_parts(found), real_parts(expected)) < ROUNDING[dtype]
    buffer = there.empty_image()
    assert there.inverse(spectrum, buffer) is buffer
    back = arrays.host(there.image_view(buffer))
    assert back.dtype == image.dtype
    assert relative_error(back / there.n_voxels, image) < ROUNDING[dtype]


@both_precisions
@pytest.mark.parametrize("shape", SHAPES)
def test_halves_agree_with_those_on_arrays(shape, dtype):
    """Planes and columns, which engines call one by one, and the inverse of a spectrum that is no image's."""
    here, there = FourierTransform(shape, dtype), TensorTransform(shape, dtype)
    spectrum = here.empty_spectrum()
    view = here.spectrum_view(spectrum)
    view[...] = random_image(view.shape, dtype, 2) + 1j * random_image(view.shape, dtype, 3)
    tensor = there.array(view.copy())
    here.blocks().inverse_columns(spectrum)
    there.blocks().inverse_columns(tensor)
    assert relative_error(real_parts(arrays.host(tensor)), real_parts(view)) < ROUNDING[dtype]
    image, out = here.empty_image(), there.empty_image()
    here.blocks().inverse_planes(view, here.image_view(image))
    there.blocks().inverse_planes(tensor, out)
    assert relative_error(arrays.host(out), here.image_view(image)) < ROUNDING[dtype]
    here.blocks().forward_planes(here.image_view(image), view)
    there.blocks().forward_planes(out, tensor)
    here.blocks().forward_columns(spectrum)
    there.blocks().forward_columns(tensor)
    assert relative_error(real_parts(arrays.host(tensor)), real_parts(view)) < ROUNDING[dtype]


@pytest.mark.parametrize("shape", SHAPES)
def test_inverse_is_the_adjoint(shape):
    """<F x, y> = <x, Fᴴ y>, with interior entries of the half-spectrum counted twice."""
    transform = TensorTransform(shape, "float64")
    x = transform.load_image(random_image(shape, "float64"))
    y = transform.forward(transform.load_image(random_image(shape, "float64", 2)), transform.empty_spectrum())
    twice = np.full(transform.half, 2.0)
    twice[0] = 1
    if shape[2] % 2 == 0:
        twice[-1] = 1
    forward = transform.forward(x, transform.empty_spectrum())
    one = float(((forward.conj() * y).real * transform.array(twice)).sum())
    other = float((x * transform.inverse(y.clone(), transform.empty_image())).sum())
    assert one == pytest.approx(other, rel=1e-12)


def test_work_is_called_once_for_the_whole_volume():
    transform, calls = TensorTransform((5, 4, 3)), []
    assert transform.for_planes(lambda *where: calls.append(where) or 7) == [7]
    transform.for_rows(lambda *where: calls.append(where))
    assert calls == [(0, 0, 0, 5), (0, 0, 0, 4)]
    assert transform.slabs() == [(0, 5)]
    assert transform.empty_block().shape == transform.empty_image().shape == (5, 4, 3)


@pytest.mark.parametrize("values", [np.arange(6.0)[::-1], np.arange(6.0)[::2], np.arange(6) > 2], ids=str)
def test_arrays_are_copied_however_they_lie(values):
    values.flags.writeable = False
    tensor = TensorTransform((2, 2, 2)).array(values)
    assert np.array_equal(arrays.host(tensor), values)
    tensor.zero_()
    assert values.any()


@both_precisions
def test_what_engines_do_with_buffers_is_the_same(dtype):
    image = np.abs(random_image((4, 5, 6), dtype)) + 1
    tensor, places = torch.from_numpy(image.copy()), np.array([3, 119, 0])
    for function in (arrays.square_sum, arrays.mean, arrays.log_sum):
        assert function(tensor) == pytest.approx(function(image), rel=1e-6 if dtype == "float32" else 1e-13)
    assert arrays.beside(places, image) is places
    assert np.array_equal(arrays.host(tensor.reshape(-1)[arrays.beside(places, tensor)]), image.ravel()[places])
    assert arrays.double(tensor).dtype == torch.float64
    assert arrays.host(image) is image


# ---- choosing a device ----


@pytest.fixture(autouse=True)
def device_as_before():
    yield
    set_device("cpu")


def test_a_transform_is_made_once_for_each_device():
    shape = (6, 5, 4)
    assert fourier_transform(shape, "float32", "cpu") is fourier_transform(shape)
    assert fourier_transform(shape, "float32", TORCH_CPU) is fourier_transform(shape, "float32", TORCH_CPU)
    assert isinstance(fourier_transform(shape, "float32", TORCH_CPU), TensorTransform)
    assert not isinstance(fourier_transform(shape), TensorTransform)


def test_a_device_holds_for_the_process_or_a_while():
    assert device_name() == "cpu"
    with on_device(TORCH_CPU):
        assert device_name() == TORCH_CPU
        with on_device(None):
            assert device_name() == TORCH_CPU
    assert device_name() == "cpu"
    set_device(TORCH_CPU)
    assert device_name() == TORCH_CPU
    with on_device("cpu"):
        assert device_name() == "cpu"


@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "cuda:x", "CUDA", "torch", "mps"])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(ParameterError, match=f"device: expected cpu, cuda, cuda:N or torch:cpu, found '{name}'"):
        set_device(name)
    assert device_name() == "cpu"


@pytest.mark.parametrize("name", ["cuda", "cuda:64"])
def test_a_device_that_is_not_there_is_refused(name):
    if name == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ResourceError, match=rf"device {name}: torch .* sees \d+ such devices; choose cpu"):
        set_device(name)
    with pytest.raises(ResourceError), on_device(name):
        pass
    assert device_name() == "cpu"


def test_lack_of_memory_is_told_as_such():
    with pytest.raises(ResourceError, match="device torch:cpu: tried to take 9 GiB; free some"), on_device(TORCH_CPU):
        raise torch.OutOfMemoryError("tried to take 9 GiB\nfurther words")
    with pytest.raises(RuntimeError, match="anything else"), on_device(TORCH_CPU):
        raise RuntimeError("anything else")
    assert device_name() == "cpu"


def test_where_torch_is_missing_it_says_what_to_install(monkeypatch):
    for name in [module for module in sys.modules if module.startswith("qsm_recon.backend.tensors")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"device cuda needs torch.*install qsm_recon\[torch\]"):
        device.require_device("cuda")
