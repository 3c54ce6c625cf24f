"""Telling whether a field holds the background of sources outside the mask."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from qsm_recon.background.base import trust
from qsm_recon.operators.blocks import block_means
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import FieldKind, Problem
from qsm_recon.region import Region
from qsm_recon.result import heed

TOTAL_BELOW = 0.15
"""Ratio of the shares (see :class:`BackgroundTest`) below which a field is taken to be total.  Decided on simulated
heads, whole and in slabs and balls: local fields have 0.3 and more, total ones 0.1 and less; see docs/background.md."""
COARSE_VOXELS = 30_000
"""Voxels of the mask after averaging: fine enough to tell, since background is smooth."""
SURROUNDINGS_VOXELS = 10
"""Averaged voxels around the mask in which sources are allowed, both sides together: 40 mm for a head."""
TEXTURE_VOXELS = 0.5
"""Width (standard deviation) of the texture that stands for tissue, in averaged voxels: 2 mm for a head."""
TRUNCATED = 4.0
"""Standard deviations at which the Gaussian that smooths it ends."""
ITERATIONS = 30
TOLERANCE = 1e-2


@dataclass(frozen=True)
class BackgroundTest:
    """How much of a field sources outside the mask do not explain, against what they leave of a field of tissue alone.

    In a thin slab or a small mask sources outside explain nearly any field, so a share says little by itself.

    Parameters
    ----------
    left
        Share of the weighted field's energy (about its mean) that is left.
    left_of_tissue
        The same for the field of a random texture that fills the whole surroundings, inside and outside.
    """

    left: float
    left_of_tissue: float

    @property
    def ratio(self) -> float:
        """About 1 for a local field, far below where strong sources lie outside the mask."""
        return self.left / self.left_of_tissue if self.left_of_tissue > 0 else 1.0

    @property
    def kind(self) -> FieldKind:
        """What the field is."""
        return "total" if self.ratio < TOTAL_BELOW else "local"

    @property
    def text(self) -> str:
        """What was found, in words."""
        return (
            f"sources outside the mask explain {100 * (1 - self.left):.3g} % of the field "
            f"({100 * (1 - self.left_of_tissue):.3g} % where there is tissue alone)"
        )


_known: WeakKeyDictionary[Problem, BackgroundTest] = WeakKeyDictionary()


def background_test(problem: Problem) -> BackgroundTest:
    """Test a problem's field for the background of outside sources; done once for each problem.

    The field is averaged over blocks of voxels, and explained by sources outside the mask as far as thirty iterations
    of conjugate gradient go; then a field of tissue alone on the same mask.

    Parameters
    ----------
    problem
        The measurement.
    """
    found = _known.get(problem)
    if found is None:
        found = _known[problem] = _test(problem)
    return found


def carry_over(problem: Problem, changed: Problem) -> None:
    """Let what is known of a problem hold for one whose field differs by a constant, which the test leaves out."""
    if problem in _known:
        _known[changed] = _known[problem]


def kind_of_field(problem: Problem) -> FieldKind:
    """Return ``"local"`` or ``"total"``: as the problem says, or else as a test finds."""
    return background_test(problem).kind if problem.field_kind == "unknown" else problem.field_kind


def _test(problem: Problem) -> BackgroundTest:
    part = Region.around(problem, 0.0).cut_problem(problem.changed(echoes=None))
    field, weight, grid = _coarse(part)
    operator = DipoleOperator(grid, dtype=np.float32, padding=SURROUNDINGS_VOXELS)
    texture = operator.forward_padded(_texture(operator.padded_grid))
    return BackgroundTest(_left(operator, field, weight), _left(operator, texture, weight))


def _coarse(problem: Problem) -> tuple[NDArray, NDArray, Grid]:
    """Weighted means of the field over blocks, their weights (zero where less than half is inside), geometry."""
    sizes, shape = problem.grid.voxel_size_mm, problem.grid.shape
    volume = float(problem.mask.sum()) * float(np.prod(sizes))
    edge = (volume / COARSE_VOXELS) ** (1 / 3)
    factors = tuple(max(1, min(round(edge / size), n)) for size, n in zip(sizes, shape, strict=True))
    squared = np.where(problem.mask, np.square(trust(problem)[0], dtype=np.float32), 0)
    product = block_means(squared * np.where(problem.mask, problem.field_ppm, 0), factors)
    squared = block_means(squared, factors)
    inside = (block_means(problem.mask.astype(np.float32), factors) >= 0.5) & (squared > 0)
    field = np.divide(product, squared, out=np.zeros_like(product), where=inside)
    grid = Grid(
        field.shape,
        tuple(size * factor for size, factor in zip(sizes, factors, strict=True)),
        problem.grid.b0_direction,
    )
    return field, np.where(inside, np.sqrt(squared), 0), grid


def _texture(grid: Grid) -> NDArray[np.float32]:
    """A random susceptibility that fills the grid; always the same."""
    texture = np.random.default_rng(0).standard_normal(grid.shape, np.float32)
    width_mm = TEXTURE_VOXELS * float(np.prod(grid.voxel_size_mm)) ** (1 / 3)
    for axis, size in enumerate(grid.voxel_size_mm):
        texture = _smoothed(texture, axis, width_mm / size)
    return texture


def _smoothed(image: NDArray[np.float32], axis: int, width: float) -> NDArray[np.float32]:
    """A periodic image convolved along an axis with a Gaussian of some width (standard deviation, in voxels).

    ``scipy.ndimage`` would do, and take ten times as long to import as this to run.
    """
    reach = int(TRUNCATED * width + 0.5)
    shape = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    shape /= shape.sum()
    total = shape[reach] * image.astype(np.float64)
    for step in range(1, reach + 1):
        total += shape[reach + step] * (np.roll(image, step, axis) + np.roll(image, -step, axis).astype(np.float64))
    return total.astype(np.float32)


def _left(operator: DipoleOperator, field: NDArray, weight: NDArray) -> float:
    """Share of the energy of a field about its weighted mean that sources outside do not explain."""
    from qsm_recon.background.outside_sources import project_onto_outside

    squared = np.square(weight, dtype=np.float64)
    if not squared.any():
        return 1.0
    mask = weight > 0
    field = np.where(mask, field - float((squared * field).sum() / squared.sum()), 0).astype(np.float32)
    energy = float((squared * np.square(field, dtype=np.float64)).sum())
    if not energy > 0:
        return 1.0
    found = project_onto_outside(operator, field, weight, mask, ITERATIONS, TOLERANCE)
    heed(found.stop_reason)
    return float((squared * np.square(field - found.background, dtype=np.float64)).sum()) / energy
