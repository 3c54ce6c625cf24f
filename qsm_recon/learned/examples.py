"""Examples to train on: heads as they are, heads with shapes thrown in, and shapes alone; kept in a folder."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qsm_recon.io import atomic_write
from qsm_recon.learned.domain import spread_and_peak
from qsm_recon.learned.heads import TILT_DEG, TrainingHead, head
from qsm_recon.learned.inputs import CHANNELS, FIELD_GAIN, prepare
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.operators.padding import padding_around, reach_of

logger = logging.getLogger(__name__)

KINDS = ("head", "mixed", "shapes")
SHARES = (0.55, 0.3, 0.15)
"""How often each kind is drawn in training."""
EXAMPLE_VERSION = 3
FirstMap = Callable[[TrainingHead], NDArray[np.floating]]
"""What gives the map (nx, ny, nz) in ppm that the network corrects, of a head's field, noise, mask and grid."""


@dataclass(frozen=True)
class Example:
    """A problem with its answer, as the network sees it.

    Parameters
    ----------
    channels
        (5, nx, ny, nz) float16, mapped from a file; see :mod:`qsm_recon.learned.inputs`.
    truth
        (nx, ny, nz) float16 susceptibility without its mean over the mask, over ``scale_ppm``.
    scale_ppm
        The unit.
    """

    channels: NDArray[np.float16]
    truth: NDArray[np.float16]
    scale_ppm: float

    def field_range_ppm(self) -> tuple[float, float]:
        """Spread and peak of its field; see :func:`qsm_recon.learned.domain.spread_and_peak`."""
        field = np.asarray(self.channels[CHANNELS.index("field")], np.float32) * (self.scale_ppm / FIELD_GAIN)
        return spread_and_peak(field, self.channels[CHANNELS.index("mask")] > 0)


def example(folder: Path, kind: str, seed: int, first_map: FirstMap, size: str = "full") -> Example:
    """Read an example from a folder, or make and keep it.

    Parameters
    ----------
    folder
        Where heads and examples are kept.
    kind
        ``head``: a head of the phantom with the field that was fitted to its echoes; ``mixed``: its tissue, of another
        contrast and with shapes thrown in, in another direction of the field; ``shapes``: shapes alone in its mask.
    seed
        Of the head and of what is drawn.
    first_map
        Gives the map that the network corrects.
    size
        Of the head.
    """
    path = folder / f"example-{EXAMPLE_VERSION}-{size}-{kind}-{seed}.npy"
    if not path.exists():
        stored = _stacked(_varied(head(folder, seed, size), kind, seed), first_map)
        atomic_write(path, lambda place: _write(place, stored))
    volumes = np.load(path, mmap_mode="r", allow_pickle=False)
    # The unit is in a voxel's place, so that a file is complete or absent.
    return Example(volumes[:-2], volumes[-2], float(volumes[-1, 0, 0, 0]) / 1000)


def _write(path: Path, volumes: NDArray) -> None:
    with path.open("wb") as stream:
        np.save(stream, volumes)


def _stacked(varied: TrainingHead, first_map: FirstMap) -> NDArray[np.float16]:
    inputs = prepare(varied.field_ppm, first_map(varied), varied.mask, varied.grid)
    truth = varied.susceptibility_ppm
    demeaned = np.where(varied.mask, truth - truth[varied.mask].mean(dtype=np.float64), 0) / inputs.scale_ppm
    unit = np.zeros_like(truth)
    unit[0, 0, 0] = 1000 * inputs.scale_ppm
    return np.concatenate([inputs.channels, demeaned[None], unit[None]]).clip(-6e4, 6e4).astype(np.float16)


def _varied(origin: TrainingHead, kind: str, seed: int) -> TrainingHead:
    """A head of a kind: the origin itself, or a simulation with its mask and the pattern of its noise."""
    if kind == "head":
        return origin
    draw = np.random.default_rng([seed, KINDS.index(kind), EXAMPLE_VERSION])
    contrast = draw.uniform(0.4, 2.0) if kind == "mixed" else 0.0
    thrown = _thrown(draw, origin, 12 if kind == "mixed" else 150)
    truth = np.where(origin.mask, contrast * origin.susceptibility_ppm + thrown, 0).astype(np.float32)
    grid = Grid(origin.grid.shape, origin.grid.voxel_size_mm, _tilted(draw))
    reach = reach_of(origin.mask, grid.voxel_size_mm)
    field = DipoleOperator(grid, padding=padding_around(origin.mask, grid.voxel_size_mm, reach)).forward(truth)
    noise = origin.noise_ppm * np.float32(np.exp(draw.uniform(np.log(0.3), np.log(2.0))))
    field += noise * draw.standard_normal(field.shape, dtype=np.float32)
    return TrainingHead(truth, np.where(origin.mask, field, 0).astype(np.float32), noise, origin.mask, grid)


def _tilted(draw: np.random.Generator) -> tuple[float, float, float]:
    angle, around = math.radians(draw.uniform(0, TILT_DEG)), draw.uniform(0, 2 * math.pi)
    return (math.sin(angle) * math.cos(around), math.sin(angle) * math.sin(around), math.cos(angle))


def _thrown(draw: np.random.Generator, origin: TrainingHead, count: int) -> NDArray[np.float32]:
    """Ellipsoids of random place, size, direction, edge and susceptibility, and a smooth random texture, in ppm."""
    shape = origin.mask.shape
    result = _texture(draw, shape) * np.float32(draw.uniform(0.0, 0.01))
    inside = np.argwhere(origin.mask)
    for _ in range(count):
        centre = inside[draw.integers(len(inside))]
        axes = np.exp(draw.uniform(np.log(1.2), np.log(22.0), size=3))
        strength = draw.normal(0, 0.04) * (8.0 if draw.random() < 0.05 and axes.max() < 8 else 1.0)
        _add_ellipsoid(result, centre, axes, _rotation(draw), strength, edge=draw.uniform(0.3, 2.0))
    return result


def _add_ellipsoid(
    image: NDArray[np.float32],
    centre: NDArray[np.integer],
    axes: NDArray[np.floating],
    rotation: NDArray[np.floating],
    strength: float,
    edge: float,
) -> None:
    """Add an ellipsoid (half axes and width of its edge in voxels), in the box around it."""
    reach = int(np.ceil(axes.max() + 2 * edge))
    lows = [max(0, int(c) - reach) for c in centre]
    highs = [min(n, int(c) + reach + 1) for n, c in zip(image.shape, centre, strict=True)]
    box = tuple(slice(low, high) for low, high in zip(lows, highs, strict=True))
    x = np.meshgrid(
        *(np.arange(low, high) - c for low, high, c in zip(lows, highs, centre, strict=True)), indexing="ij"
    )
    turned = np.tensordot(rotation, np.stack(x).astype(np.float32), axes=1)
    radius = np.sqrt(sum((along / axis) ** 2 for along, axis in zip(turned, axes, strict=True)))
    depth = (1 - radius) * axes.min() / edge
    image[box] += np.float32(strength) / (1 + np.exp(-4 * depth.clip(-20, 20))).astype(np.float32)


def _rotation(draw: np.random.Generator) -> NDArray[np.floating]:
    """A random rotation, (3, 3)."""
    basis, triangle = np.linalg.qr(draw.standard_normal((3, 3)))
    return basis * np.sign(np.diag(triangle))


def _texture(draw: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A random field of unit standard deviation whose power falls with frequency."""
    import scipy.fft

    spectrum = scipy.fft.rfftn(draw.standard_normal(shape, dtype=np.float32))
    axes = [np.fft.fftfreq(n) for n in shape[:2]] + [np.fft.rfftfreq(shape[2])]
    squared = axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2
    slope = draw.uniform(2.0, 4.0)
    spectrum *= (squared + 1 / 64**2) ** (-slope / 4)
    texture = scipy.fft.irfftn(spectrum, shape)
    return (texture / texture.std()).astype(np.float32)
