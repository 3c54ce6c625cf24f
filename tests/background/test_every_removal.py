"""What every registered background removal must do.  A new one is tested here from the day it is registered."""

import ast
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from oracles import relative_error
from oracles.own import own_removals

from qsm_recon.background import registry
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.operators.grid import Grid
from qsm_recon.result import IterationState

ROOT = Path(__file__).resolve().parents[2]

NAMES = sorted(own_removals())
every_removal = pytest.mark.parametrize("name", NAMES)
iterative_ones = pytest.mark.parametrize(
    "name", [name for name in NAMES if "tolerance" in registry.find_removal(name).declared()]
)

SHAPE, VOXEL_SIZE, DIRECTION = (31, 26, 21), (1.0, 1.2, 1.6), (0.2, -0.3, 0.93)


class Scene:
    """An ellipsoid with two weak spheres in it and two strong ones beside it; an oblique field, odd sizes."""

    def __init__(self, shape=SHAPE, voxel_size=VOXEL_SIZE, direction=DIRECTION):
        self.grid = Grid(shape, voxel_size, direction)
        axes = [(np.arange(n) - (n - 1) / 2) * d for n, d in zip(shape, voxel_size, strict=True)]
        depth = 1 - sum((r / 14) ** 2 for r in np.ix_(*axes))
        self.mask, self.middle = depth > 0, depth > 0.7
        self.local = sphere_at((1, 0, -1), 3.0, 0.3, self.grid) + sphere_at((-4, 3, 1), 2.5, -0.2, self.grid)
        self.background = sphere_at((0, 21, 5), 6.0, 36.0, self.grid) + sphere_at((-20, 0, -4), 5.0, -24.0, self.grid)
        self.total = self.local + self.background


def sphere_at(centre, radius, susceptibility, grid):
    """Field of a ball (mm from the middle of the grid) by the textbook formula."""
    axes = [(np.arange(n) - (n - 1) / 2) * d for n, d in zip(grid.shape, grid.voxel_size_mm, strict=True)]
    offsets = [r - c for r, c in zip(np.ix_(*axes), centre, strict=True)]
    distance = np.sqrt(sum(r * r for r in offsets))
    cosine = sum(b * r for b, r in zip(grid.b0_direction, offsets, strict=True)) / np.maximum(distance, 1e-9)
    ratio = radius / np.maximum(distance, radius)
    return np.where(distance > radius, susceptibility / 3 * ratio**3 * (3 * cosine**2 - 1), 0)


@pytest.fixture(scope="module")
def scene():
    return Scene()


def accurate(name, **parameters):
    """Make a removal with radii that fit the scene, that iterates until little changes."""
    declared = registry.find_removal(name).declared()
    given = {"tolerance": 1e-3 if name == "pdf" else 1e-5, "max_iterations": 120 if name == "pdf" else 3000}
    given |= {"radius": 3.5, "largest_radius": 6.0, "smallest_radius": 2.5, "regularisation": 1e-5, "threshold": 0.01}
    given |= parameters
    return registry.make_removal(name, **{key: value for key, value in given.items() if key in declared})


# ---- what it says of itself ----


@every_removal
def test_describes_itself(name):
    removal = registry.find_removal(name)
    assert removal.name == name == name.lower()
    assert len(removal.title) > 3
    assert "doi 10." in removal.citation
    assert removal.__doc__
    assert removal().memory_volumes() > 0
    for declared in removal.declared().values():
        assert declared.unit
        assert len(declared.help) > 5
        declared.check(declared.default)
        if declared.kind in (float, int):
            assert declared.low is not None
        assert declared.name in removal.describe("background removal", "--background-set")


@every_removal
def test_refuses_unknown_parameters_and_values_out_of_range(name):
    with pytest.raises(ParameterError, match="no parameter 'nonsense'"):
        registry.make_removal(name, nonsense=1)
    for key, declared in registry.find_removal(name).declared().items():
        bad = ["nonsense"] + ([] if declared.low is None else [declared.kind(declared.low - 1)])
        for value in bad:
            with pytest.raises(ParameterError, match=key):
                registry.make_removal(name, **{key: value})


@every_removal
def test_is_immutable(name):
    with pytest.raises(dataclasses.FrozenInstanceError):
        accurate(name).name = "other"


# ---- what it computes ----


@every_removal
def test_takes_the_background_out_and_leaves_the_local_field(name, scene):
    found = accurate(name).remove(scene.total, scene.mask, scene.grid)
    assert found.field_ppm.shape == scene.grid.shape
    assert found.field_ppm.dtype == np.float32
    assert found.mask.dtype == bool
    assert np.isfinite(found.field_ppm).all()
    assert not found.field_ppm[~found.mask].any()
    assert not (found.mask & ~scene.mask).any()
    assert found.method == name
    assert found.parameters == accurate(name).parameters()
    assert found.seconds > 0
    if not registry.find_removal(name).erodes:
        assert np.array_equal(found.mask, scene.mask)
    where = found.mask & scene.middle
    assert where.sum() > 200
    got, truth = (values[where] - values[where].mean() for values in (found.field_ppm, scene.local))
    assert relative_error(got, truth) < 0.3
    assert np.linalg.norm(scene.background[where] - scene.background[where].mean()) > 5 * np.linalg.norm(truth)


@every_removal
def test_leaves_nothing_of_a_pure_background(name, scene):
    found = accurate(name).remove(scene.background, scene.mask, scene.grid)
    where = found.mask
    before = np.linalg.norm(scene.background[where] - scene.background[where].mean())
    assert np.linalg.norm(found.field_ppm[where]) < 0.03 * before


@every_removal
def test_leaves_a_field_without_background_as_it_is_away_from_the_surface(name, scene):
    found = accurate(name).remove(scene.local, scene.mask, scene.grid)
    where = found.mask & scene.middle
    got, truth = (values[where] - values[where].mean() for values in (found.field_ppm, scene.local))
    assert relative_error(got, truth) < 0.3
    assert np.vdot(got, truth) / np.vdot(truth, truth) > 0.8


@every_removal
@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 0, 0), (0.6, 0.0, 0.8)])
def test_removes_the_field_of_a_sphere_outside(name, direction):
    grid = Grid((24, 27, 20), (1.0, 1.0, 1.4), direction)
    field = sphere_at((-20, 0, 3), 6.0, 9.4, grid)
    x, y, z = np.ix_(*[np.linspace(-1, 1, n) for n in grid.shape])
    mask = x**2 + y**2 + z**2 < 0.9
    found = accurate(name, radius=2.5, largest_radius=3.0).remove(field, mask, grid)
    where = found.mask
    assert where.sum() > 500
    assert found.field_ppm[where].std() < 0.05 * field[where].std()


@every_removal
def test_is_linear_and_indifferent_to_a_constant(name, scene):
    removal = accurate(name, tolerance=1e-3, max_iterations=30)
    expected = removal.remove(scene.total, scene.mask, scene.grid).field_ppm
    scaled = removal.remove(-3 * scene.total + 0.7, scene.mask, scene.grid).field_ppm
    assert relative_error(scaled / -3, expected) < 2e-3


@every_removal
@pytest.mark.parametrize("axes", [(2, 0, 1), (1, 0, 2)])
def test_permuted_axes_give_the_permuted_field(name, axes, scene):
    removal = accurate(name, tolerance=1e-3, max_iterations=25)
    expected = removal.remove(scene.total, scene.mask, scene.grid)
    permute = lambda values: tuple(values[a] for a in axes)  # noqa: E731
    grid = Grid(*(permute(part) for part in (scene.grid.shape, scene.grid.voxel_size_mm, scene.grid.b0_direction)))
    found = removal.remove(scene.total.transpose(axes), scene.mask.transpose(axes), grid)
    assert np.array_equal(found.mask, expected.mask.transpose(axes))
    assert relative_error(found.field_ppm, expected.field_ppm.transpose(axes)) < 2e-3


@every_removal
def test_ignores_what_is_outside_the_mask_and_leaves_its_input_alone(name, scene):
    removal = accurate(name, max_iterations=10)
    outside = np.where(scene.mask, scene.total, 17.0)
    before = outside.copy(), scene.mask.copy()
    expected = removal.remove(scene.total, scene.mask, scene.grid).field_ppm
    assert np.array_equal(removal.remove(outside, scene.mask, scene.grid).field_ppm, expected)
    assert np.array_equal(outside, before[0])
    assert np.array_equal(scene.mask, before[1])


@every_removal
def test_does_not_depend_on_the_number_of_threads(name, scene, threads):
    results = []
    for count in (1, 2, 5):
        threads(count)
        results.append(accurate(name, max_iterations=10).remove(scene.total, scene.mask, scene.grid).field_ppm)
    for found in results[1:]:
        assert relative_error(found, results[0]) < 1e-4


@every_removal
def test_runs_without_pyfftw(name, scene, without_pyfftw):
    found = accurate(name, max_iterations=10).remove(scene.total, scene.mask, scene.grid)
    assert np.isfinite(found.field_ppm).all()


@every_removal
def test_refuses_impossible_input(name, scene):
    removal = accurate(name)
    with pytest.raises(DataError, match="mask: it is empty"):
        removal.remove(scene.total, np.zeros_like(scene.mask), scene.grid)
    with pytest.raises(DataError, match="field_ppm: expected shape"):
        removal.remove(scene.total[1:], scene.mask, scene.grid)
    bad = np.where(scene.middle, np.nan, scene.total)
    with pytest.raises(DataError, match="NaN or infinite"):
        removal.remove(bad, scene.mask, scene.grid)


@every_removal
def test_a_mask_too_small_for_it_is_refused_with_what_to_do(name, scene):
    if not registry.find_removal(name).erodes:
        pytest.skip("takes any mask")
    tiny = np.zeros_like(scene.mask)
    tiny[14:16, 12:14, 10:12] = True
    with pytest.raises(ParameterError, match=r"choose a smaller radius|reduce peel"):
        accurate(name).remove(scene.total, tiny, scene.grid)


# ---- what iterative ones share ----


@iterative_ones
def test_tells_the_callback_and_obeys_it(name, scene):
    states = []
    found = accurate(name).remove(
        scene.total, scene.mask, scene.grid, callback=lambda state: states.append(state) or state.iteration < 3
    )
    assert all(isinstance(state, IterationState) for state in states)
    assert len(states) == found.iterations == 3
    assert not found.converged
    assert len(found.history["residual"]) == 3
    assert states[-1].values["residual"] == found.history["residual"][-1]


@iterative_ones
def test_says_why_it_stopped(name, scene):
    short = accurate(name, max_iterations=2).remove(scene.total, scene.mask, scene.grid)
    assert (short.converged, short.iterations) == (False, 2)
    assert "limit" in short.stop_reason
    done = accurate(name, tolerance=0.05).remove(scene.total, scene.mask, scene.grid)
    assert done.converged
    assert done.history["residual"][-1] <= 0.05


def test_removals_of_other_packages_are_loaded_by_the_rule_of_solvers(tmp_path, run_python):
    (tmp_path / "tiny.py").write_text(
        "from qsm_recon.background.projection import METHODS\nPDF, number = METHODS[0], 7\n"
    )
    metadata = tmp_path / "tiny-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    code = """
from qsm_recon.errors import ParameterError
from qsm_recon.background.registry import removals
try:
    print(sorted(removals()))
except ParameterError as error:
    print(error)
"""
    for entry, said in (
        ("x = tiny:PDF", "plug-in 'x' (tiny:PDF) takes the name of background removal 'pdf'"),
        ("x = tiny:number", "plug-in 'x' (tiny:number) is not a BackgroundRemoval class"),
        ("x = tiny:missing", None),
    ):
        (metadata / "entry_points.txt").write_text(f"[qsm_recon.background]\n{entry}\n")
        last = run_python(code, PYTHONPATH=f"{tmp_path}:{ROOT}").splitlines()[-1]
        if said is None:  # it is left out; the others are there
            assert set(own_removals()) <= set(ast.literal_eval(last))
        else:
            assert last == said
