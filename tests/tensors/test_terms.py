"""Terms of other packages run on tensors as they are: their scalar steps know nothing of torch."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra 'torch'; make test-torch)")

from qsm_recon.backend.arrays import host
from qsm_recon.backend.device import TORCH_CPU
from qsm_recon.backend.field_sweep import sweep
from qsm_recon.backend.jit import inline, kernel
from qsm_recon.backend.scalars import chosen, nearest_whole
from qsm_recon.backend.transforms import fourier_transform
from qsm_recon.testing.measurement import Measurement

PLUGIN = Path(__file__).resolve().parents[2] / "examples" / "huber_tv"
SHAPE = (6, 5, 8)


@pytest.fixture
def plugin(monkeypatch):
    """The modules of the example, which is not installed."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    import huber_tv
    import rounded_tv

    yield huber_tv, rounded_tv
    for name in ("huber_tv", "rounded_tv"):
        sys.modules.pop(name)


def test_a_method_of_another_package(plugin):
    problem = Measurement().problem()
    here, there = (plugin[0].HuberTV().solve(problem, device=device) for device in ("cpu", TORCH_CPU))
    assert there.iterations == here.iterations
    difference = np.linalg.norm(there.susceptibility_ppm - here.susceptibility_ppm)
    assert difference < 1e-4 * np.linalg.norm(here.susceptibility_ppm)


def test_a_regulariser_of_another_package(plugin):
    found = []
    for device in ("cpu", TORCH_CPU):
        transform = fourier_transform(SHAPE, "float64", device)
        splitting = plugin[1].RoundedTV(0.05).on(transform, (1.0, 1.2, 0.9), 0.3)
        image = transform.load_image(np.random.default_rng(0).standard_normal(SHAPE))
        slabs, sums = transform.slabs(), []
        for _ in range(3):
            splitting.begin_iteration(image, slabs, 1.0, 1.6)
            parts = transform.for_planes(
                lambda slab, _start, a, b, own=splitting, whole=image: own.step(whole, slab, a, b), slabs
            )
            sums.append(np.sum(parts, axis=0))
        found.append((np.array(sums), host(transform.spectrum_view(splitting.spectra[0]))))
    assert np.allclose(found[1][0], found[0][0], rtol=1e-12)
    assert np.allclose(found[1][1], found[0][1], rtol=1e-12, atol=1e-10)


STRENGTH, WEAKNESS = np.float32(0.7), 0.3


@inline
def choosy(field, stored, measured, weight, dual_scale, penalty, relaxation, numbers):
    """A step that chooses between two numbers, one of numpy's and one of Python's, and rounds."""
    factor = chosen(field > measured, STRENGTH, WEAKNESS)
    new = nearest_whole(4 * measured) / 4 + factor * (field - measured) * relaxation
    return new, stored, field - new, new, weight * abs(new) * numbers[0]


@kernel
def choosy_step(
    predicted, state, measured, weight, first, nz, dual_scale, penalty, relaxation, numbers
):  # fmt: skip
    return sweep(choosy, predicted, state, measured, weight, first, nz, dual_scale, penalty, relaxation, numbers)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_step_keeps_its_digits(dtype):
    """Two numbers to choose from, and numpy's rounding, in the precision of the field."""
    rng = np.random.default_rng(1)
    arrays = rng.uniform(-1, 1, (4, *SHAPE)).astype(dtype)
    given = [dtype(value) for value in (0.1, 1.3, 1.9)]
    tensors = [torch.from_numpy(array.copy()) for array in arrays]
    expected = choosy_step(*arrays, 0, SHAPE[2], *given, (dtype(0.3),))
    found = choosy_step(*tensors, 0, SHAPE[2], *given, (dtype(0.3),))
    bound = 1e-6 if dtype == np.float32 else 1e-13
    assert np.allclose(found, expected, rtol=bound)
    for tensor, array in zip(tensors[:2], arrays[:2], strict=True):
        assert tensor.numpy().dtype == array.dtype
        assert np.abs(tensor.numpy() - array).max() < bound
