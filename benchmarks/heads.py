"""Simulated heads of other origin as cases: ``*.npz`` with echoes, truth and the true field (their README says how)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qsm_recon.datasets.assembly import Assembly, ScanSettings
from qsm_recon.datasets.case import Case, Truth
from qsm_recon.errors import DataError
from qsm_recon.field import EchoSeries
from qsm_recon.io import Image
from qsm_recon.operators.grid import Grid
from qsm_recon.units import hz_per_ppm

HEADS = Path(__file__).resolve().parents[2] / "shared" / "data" / "heads"
NOISE_OF_TRUE_FIELD_HZ = 0.4
SEED = 0


def head_files(folder: Path = HEADS) -> list[Path]:
    """Heads in a folder; none where it is absent."""
    return sorted(folder.glob("*.npz")) if folder.is_dir() else []


def require_heads(folder: Path) -> list[Path]:
    """Heads in a folder that was asked for.

    Raises
    ------
    DataError
        If there are none.
    """
    found = head_files(folder)
    if not found:
        raise DataError(f"{folder}: expected a folder with simulated heads, *.npz; found none there")
    return found


def head_echoes(path: Path) -> tuple[EchoSeries, NDArray[np.bool_], Grid]:
    """Echoes of a head, its mask, and its geometry, with B0 along the third axis."""
    with np.load(path, allow_pickle=False) as stored:
        mask = stored["mask"].astype(bool)
        magnitude = _scaled(stored["magnitude"], float(stored["magnitude_scale"]))
        phase = _scaled(stored["phase"], np.pi / 32767)
        times = tuple(float(t) for t in stored["echo_times_s"])
        x, y, z = (float(edge) for edge in stored["voxel_size_mm"])
        return EchoSeries(magnitude, phase, times, float(stored["b0_tesla"])), mask, Grid(mask.shape, (x, y, z))


def head_case(path: Path, field: str = "echoes") -> Case:
    """Read a head.

    Parameters
    ----------
    path
        Of its file.
    field
        ``echoes``: the field that is estimated from these.  ``true``: the true one with white noise of 0.4 Hz, the
        magnitude of the echoes as the weight.
    """
    echoes, mask, grid = head_echoes(path)
    with np.load(path, allow_pickle=False) as stored:
        parts = {name: stored[name] for name in ("chi_ppm", "field_hz")}
    affine = np.diag([*grid.voxel_size_mm, 1.0])
    b0_tesla = echoes.b0_tesla
    gathered = Assembly(ScanSettings(b0_tesla, echoes.echo_times_s))
    series = gathered.add_echoes(echoes.magnitude, echoes.phase_rad, mask)
    reference = Image(mask, affine, path, affine, "its voxel size, with B0 along the third axis")
    if field == "echoes":
        gathered.add_estimated_field(series, "fit", gathered.acquisition.grid(reference))
    else:
        noise = NOISE_OF_TRUE_FIELD_HZ * np.random.default_rng(SEED).standard_normal(mask.shape)
        measured = (parts["field_hz"] + noise * mask) / hz_per_ppm(b0_tesla)
        level = np.full(mask.shape, NOISE_OF_TRUE_FIELD_HZ / hz_per_ppm(b0_tesla), np.float32)
        gathered.parts.update(field_ppm=measured.astype(np.float32), field_noise_ppm=level)
        gathered.series = None
    truth = Truth(parts["chi_ppm"].astype(np.float32), evaluation_mask=gathered.parts["mask"])
    return gathered.finish(reference, path.stem, truth)


def true_frequency_hz(path: Path) -> NDArray[np.float32]:
    """True field of a head at the centres of its voxels, Hz."""
    with np.load(path, allow_pickle=False) as stored:
        return stored["field_hz"].astype(np.float32)


def _scaled(stored: NDArray, scale: float) -> NDArray[np.float32]:
    return (stored * np.float32(scale)).astype(np.float32) if stored.dtype.kind == "i" else stored.astype(np.float32)
