"""Every removal against its naive oracle in double precision."""

import numpy as np
import pytest
from oracles import background as oracle
from oracles import relative_error

from qsm_recon.background.registry import make_removal
from qsm_recon.operators.grid import Grid
from qsm_recon.operators.padding import padded_shape


class Small:
    """A field of harmonic and other parts in an ellipsoid that reaches all sides of an oblique anisotropic grid."""

    def __init__(self, shape=(13, 14, 11), voxel_size=(1.0, 1.2, 1.5)):
        rng = np.random.default_rng(8)
        self.grid = Grid(shape, voxel_size, (0.2, -0.3, 0.9))
        x, y, z = np.ix_(*[np.linspace(-1, 1, n) for n in shape])
        self.mask = x**2 + y**2 + z**2 < 1.05
        self.field = 0.3 * x * y - 0.5 * z + 0.4 + 0.1 * rng.standard_normal(shape)
        self.weight = rng.uniform(0.3, 1.5, shape)
        self.centred = oracle.centred(self.field, self.mask)

    def remove(self, name, **parameters):
        return make_removal(name, **parameters).remove(self.field, self.mask, self.grid, weight=self.weight)


@pytest.fixture(scope="module")
def small():
    return Small()


@pytest.mark.parametrize("inside", [0.0, 0.2])
@pytest.mark.parametrize("iterations", [1, 6])
def test_projection_is_the_naive_one(small, inside, iterations):
    found = small.remove("pdf", inside=inside, max_iterations=iterations, tolerance=0.0, surroundings=20.0)
    assert found.iterations == iterations
    weight = small.weight / np.sqrt(np.mean(small.weight[small.mask] ** 2))
    shape = tuple(found.details["padded_shape"])
    expected = oracle.projection(small.centred, weight, small.mask, small.grid, shape, inside, iterations)
    assert relative_error(small.centred - found.field_ppm, expected) < 1e-4


def test_boundary_values_are_the_dense_solution(small):
    found = small.remove("lbv", tolerance=1e-9)
    expected, inside = oracle.boundary_values(small.centred, small.mask, small.grid.voxel_size_mm)
    assert np.array_equal(found.mask, inside)
    assert relative_error(found.field_ppm, expected) < 1e-5


def test_peeling_is_the_same_on_a_smaller_mask(small):
    whole = small.remove("lbv", tolerance=1e-9, peel=1)
    inner = small.remove("lbv", tolerance=1e-9).mask
    parts = make_removal("lbv", tolerance=1e-9).remove(small.field, inner, small.grid)
    assert np.array_equal(whole.mask, parts.mask)
    assert relative_error(whole.field_ppm, parts.field_ppm) < 1e-5


@pytest.mark.parametrize(("name", "parameters", "radii"), [
    ("resharp", {"radius": 2.6}, [2.6]),
    ("vsharp", {"largest_radius": 3.6, "smallest_radius": 2.0, "step": 0.8}, [3.6, 2.8, 2.0]),
])  # fmt: skip
def test_least_squares_are_the_dense_solution(small, name, parameters, radii):
    found = small.remove(name, regularisation=0.01, tolerance=1e-6, max_iterations=1000, **parameters)
    expected, valid = oracle.regularised_means(small.centred, small.mask, small.grid, radii, 0.01)
    assert np.array_equal(found.mask, valid)
    assert relative_error(found.field_ppm, np.where(valid, expected, 0)) < 1e-3


def test_truncated_deconvolution_is_the_naive_one(small):
    found = small.remove(
        "vsharp", largest_radius=3.6, smallest_radius=2.0, step=0.8, deconvolution="truncated", threshold=0.07
    )
    margin = tuple(int(np.ceil(3.6 / size + 0.5)) for size in small.grid.voxel_size_mm)
    expected, valid = oracle.truncated_means(
        small.centred, small.mask, small.grid, [3.6, 2.8, 2.0], 0.07, padded_shape(small.grid.shape, margin)
    )
    assert np.array_equal(found.mask, valid)
    assert relative_error(found.field_ppm, np.where(valid, expected, 0)) < 1e-4


def test_iterated_means_end_where_the_published_iteration_does(small):
    found = small.remove("ismv", radius=2.6, tolerance=1e-7, max_iterations=1000)
    expected, valid = oracle.iterated_means(small.centred, small.mask, small.grid, 2.6, 3000)
    assert np.array_equal(found.mask, valid)
    assert relative_error(found.field_ppm, np.where(valid, expected, 0)) < 1e-4


def test_the_smallest_radius_follows_the_voxels(small):
    found = make_removal("vsharp", largest_radius=6.0).remove(small.field, small.mask, small.grid)
    assert found.details["radii_mm"][-1] == 2.0
    coarse = Grid(small.grid.shape, (3.0, 2.0, 2.5), small.grid.b0_direction)
    found = make_removal("vsharp", largest_radius=6.0).remove(small.field, small.mask, coarse)
    assert found.details["radii_mm"][-1] == 3.0
    assert sum(found.details["voxels_by_radius"]) == found.mask.sum()
