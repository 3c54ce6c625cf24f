"""A small synthetic scan, and helpers that write it in the layouts of the data sets."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from qsm_recon.io import save_image
from qsm_recon.units import ppm_to_hz

SHAPE = (20, 22, 18)
TIMES = (0.004, 0.012, 0.020, 0.028)
B0_TESLA = 7.0


@pytest.fixture(scope="session")
def scan() -> SimpleNamespace:
    """Field, truth, labels, mask and four nearly noise-free echoes on an anisotropic grid."""
    rng = np.random.default_rng(3)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    mask = x**2 + y**2 + z**2 < 0.8
    field = 0.04 * np.sin(3 * x) * np.cos(2 * y) + 0.02 * z
    times = np.array(TIMES)
    phase = 0.3 + 2 * np.pi * ppm_to_hz(field, B0_TESLA)[..., None] * times
    magnitude = 500 * (1.2 + 0.5 * x[..., None]) * np.exp(-35 * times)
    signal = np.where(mask[..., None], magnitude * np.exp(1j * phase), 0)
    signal = signal + 0.05 * (rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape))
    affine = np.diag([1.5, 1.0, 2.0, 1.0])
    affine[:3, 3] = (-14, -10, -17)
    return SimpleNamespace(
        field_ppm=field.astype(np.float32),
        chi=np.where(mask, 0.1 * np.cos(4 * x * y), 0).astype(np.float32),
        labels=np.where(mask, 8 + (z > 0), 0).astype(np.int16),
        mask=mask,
        magnitude=np.abs(signal).astype(np.float32),
        phase=np.angle(signal).astype(np.float32),
        affine=affine,
        times=TIMES,
        b0=B0_TESLA,
    )


@pytest.fixture(scope="session")
def phantom():
    """The embedded head in coarse voxels."""
    from qsm_recon.phantom import PhantomParameters, build_phantom

    return build_phantom(PhantomParameters(size="reduced", voxel_size_mm=(5.0, 5.0, 5.0), snr=1000.0), cache=False)


@pytest.fixture(scope="session")
def scan_folder(scan, tmp_path_factory) -> Path:
    """The scan as single files, to be copied."""
    folder = tmp_path_factory.mktemp("scan")
    images = {
        "field": scan.field_ppm,
        "mask": scan.mask,
        "magnitude": scan.magnitude[..., 0],
        "magnitudes": scan.magnitude,
        "phase": scan.phase,
        "weight": scan.magnitude[..., 1],
        "truth": scan.chi,
        "labels": scan.labels,
    }
    for name, image in images.items():
        save_image(folder / f"{name}.nii.gz", image, scan.affine)
    return folder


@pytest.fixture
def files(scan, scan_folder, tmp_path) -> SimpleNamespace:
    """The scan as single files: paths by name, and ``write`` for further ones."""
    shutil.copytree(scan_folder, tmp_path, dirs_exist_ok=True)

    def write(name, data, affine=None):
        return save_image(tmp_path / f"{name}.nii.gz", data, scan.affine if affine is None else affine)

    paths = {path.name.removesuffix(".nii.gz"): tmp_path / path.name for path in scan_folder.iterdir()}
    return SimpleNamespace(write=write, folder=tmp_path, **paths)
