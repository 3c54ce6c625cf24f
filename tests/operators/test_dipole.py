"""The dipole operator: its kernels, symmetry, adjoint, padding, and the field of a sphere."""

import itertools

import numpy as np
import pytest
import scipy.fft
from oracles import relative_error
from oracles.fields import dipole_kernel as naive_kernel
from oracles.fields import filtered, mirrored, sphere_field

from qsm_recon.backend.threads import set_thread_count, thread_count
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.operators.dipole import DipoleOperator, dipole_kernel
from qsm_recon.operators.grid import Grid

KINDS = ("continuous", "discrete", "green")
SHAPES = [(16, 16, 16), (15, 9, 5), (15, 16, 10), (12, 9, 16), (8, 10, 9)]
DIRECTIONS = [(0, 0, 1), (1, 0, 0), (0.3, -0.2, 0.9), (1, 1, 1)]
VOXEL_SIZE = (0.8, 1.1, 2.0)

every_kind = pytest.mark.parametrize("kind", KINDS)
every_shape = pytest.mark.parametrize("shape", SHAPES)
every_direction = pytest.mark.parametrize("direction", DIRECTIONS)


def noise(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def full_spectrum(half, shape):
    """A full spectrum from the stored half, by inversion symmetry."""
    full = np.zeros(shape)
    full[..., : half.shape[2]] = half
    return np.where(np.arange(shape[2]) < half.shape[2], full, mirrored(full))


@every_kind
def test_kernels_take_no_more_threads_than_they_are_given(kind, monkeypatch):
    """The transform of ``green`` ran on every core of the machine, whatever ``--threads`` said."""
    asked = []
    transform = scipy.fft.rfftn
    monkeypatch.setattr(scipy.fft, "rfftn", lambda image, workers: asked.append(workers) or transform(image))
    before = thread_count()
    set_thread_count(1)
    try:
        dipole_kernel(Grid((8, 8, 8)), kind)
    finally:
        set_thread_count(before)
    assert asked == ([1] if kind == "green" else [])


@every_kind
@every_shape
@every_direction
def test_kernel_equals_its_formula(kind, shape, direction):
    kernel = dipole_kernel(Grid(shape, VOXEL_SIZE, direction), kind, np.float64)
    assert kernel.shape == (*shape[:2], shape[2] // 2 + 1)
    expected = naive_kernel(kind, shape, VOXEL_SIZE, direction)
    assert np.allclose(kernel, expected[..., : kernel.shape[2]], rtol=0, atol=1e-12)
    assert kernel[0, 0, 0] == 0


@every_kind
@every_shape
@every_direction
def test_kernel_is_the_transform_of_a_real_even_function(kind, shape, direction):
    """White noise gives a real answer, the same by real and complex transforms, and squaring is applying twice."""
    half = dipole_kernel(Grid(shape, VOXEL_SIZE, direction), kind, np.float64)
    full = full_spectrum(half, shape)
    assert np.allclose(full, mirrored(full), rtol=0, atol=1e-13)
    x = noise(shape)
    answer = filtered(full, x)
    assert np.abs(answer.imag).max() < 1e-13
    real_answer = np.fft.irfftn(half * np.fft.rfftn(x), shape, (0, 1, 2))
    assert np.allclose(real_answer, answer.real, rtol=0, atol=1e-13)
    assert np.allclose(filtered(full**2, x).real, filtered(full, answer.real).real, rtol=0, atol=1e-13)


def test_symmetrisation_of_the_oblique_kernel_matters():
    """The trap that the tests above guard against: without it the answer has an imaginary part."""
    shape = (16, 16, 16)
    k = np.meshgrid(*[np.fft.fftfreq(n) for n in shape], indexing="ij")
    squared = sum(ki**2 for ki in k)
    squared[0, 0, 0] = 1
    answer = filtered(1 / 3 - (sum(k) / np.sqrt(3)) ** 2 / squared, noise(shape))
    assert np.linalg.norm(answer.imag) > 0.1 * np.linalg.norm(answer.real)


@every_kind
@pytest.mark.parametrize("shape", [(16, 15, 12), (8, 9, 10)])
def test_range_of_the_kernel(kind, shape):
    kernel = dipole_kernel(Grid(shape, VOXEL_SIZE, (0.3, -0.2, 0.9)), kind, np.float64)
    slack = 0.01 if kind == "green" else 1e-12  # a dipole cut off at half the grid overshoots
    assert kernel.min() > -2 / 3 - slack
    assert kernel.max() < 1 / 3 + slack


@every_direction
def test_green_kernel_is_the_dipole_integrated_over_a_voxel(direction):
    """The closed form over the corners against Gaussian quadrature of the dipole, near and far."""
    shape = (15, 9, 11)
    half = dipole_kernel(Grid(shape, VOXEL_SIZE, direction), "green", np.float64)
    found = np.fft.irfftn(half, shape, (0, 1, 2))
    found -= found.mean()  # the kernel is zero at zero frequency
    nodes, weights = np.polynomial.legendre.leggauss(24)
    points = np.stack([x.ravel() for x in np.meshgrid(*[nodes * d / 2 for d in VOXEL_SIZE], indexing="ij")])
    volume = np.prod(VOXEL_SIZE) / 8 * np.einsum("i,j,k->ijk", weights, weights, weights).ravel()
    b = np.asarray(direction) / np.linalg.norm(direction)
    where = [(0, 0, 5), (2, 0, 0), (0, 2, 0), (1, 1, 1), (1, -1, 0), (-3, 2, -4), (6, 4, 5)]
    integrals = []
    for index in where:
        r = (np.array(index) * VOXEL_SIZE)[:, None] - points
        distance = np.linalg.norm(r, axis=0)
        integrals.append(np.sum(volume * (3 * (b @ r / distance) ** 2 - 1) / (4 * np.pi * distance**3)))
    # Compare differences: the mean over the grid is not known to the quadrature.
    values = np.array([found[index] for index in where])
    assert np.allclose(np.diff(values), np.diff(integrals), rtol=0, atol=1e-8)


@every_kind
@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_permuted_axes_give_the_permuted_field(kind, axes):
    shape, direction = (10, 9, 12), (0.3, -0.2, 0.9)
    x = noise(shape)
    field = DipoleOperator(Grid(shape, VOXEL_SIZE, direction), kind, np.float64).forward(x)
    permute = lambda values: tuple(values[a] for a in axes)  # noqa: E731
    grid = Grid(permute(shape), permute(VOXEL_SIZE), permute(direction))
    permuted = DipoleOperator(grid, kind, np.float64).forward(x.transpose(axes))
    assert np.allclose(permuted, field.transpose(axes), rtol=0, atol=1e-12)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("n", [48, 60])
def test_samples_on_the_magic_cone_are_zero(n, axis):
    # In whole numbers, which have no rounding: 1/3 - k_b² / |k|² = 0.
    squared = np.square((np.arange(n) + n // 2) % n - n // 2)
    parts = squared[:, None, None], squared[:, None], squared[: n // 2 + 1]
    on_cone = 3 * parts[axis] == sum(parts)
    kernel = dipole_kernel(Grid((n, n, n), (1, 1, 1), np.eye(3)[axis]), "continuous", np.float64)
    assert on_cone.sum() > 100
    assert np.array_equal(kernel == 0, on_cone)


@pytest.mark.parametrize("n", [48, 60])
def test_samples_on_the_diagonals_of_the_discrete_kernel_are_zero(n):
    kernel = dipole_kernel(Grid((n, n, n), (0.7, 0.7, 0.7), (0, 1, 0)), "discrete", np.float64)
    i = np.arange(n // 2 + 1)
    for x, y in itertools.product((i, -i), repeat=2):
        assert not kernel[x, y, i].any()


@every_kind
def test_opposite_direction_gives_the_same_field(kind):
    x = noise((9, 8, 10))
    one, other = (
        DipoleOperator(Grid(x.shape, VOXEL_SIZE, direction), kind, np.float64).forward(x)
        for direction in ((0.3, -0.2, 0.9), (-0.3, 0.2, -0.9))
    )
    assert np.allclose(one, other, rtol=0, atol=1e-13)


@every_kind
@every_shape
@pytest.mark.parametrize("padding", [0, 3, (0, 5, 2)])
def test_operator_is_its_own_adjoint(kind, shape, padding):
    operator = DipoleOperator(Grid(shape, VOXEL_SIZE, (0.3, -0.2, 0.9)), kind, np.float64, padding)
    x, y = noise(shape, 1), noise(shape, 2)
    forward, adjoint = operator.forward(x), operator.adjoint(y)
    assert forward.shape == adjoint.shape == shape
    assert abs(np.vdot(forward, y) - np.vdot(x, adjoint)) < 1e-12 * np.linalg.norm(x) * np.linalg.norm(y)


@every_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(16, 15, 12), (7, 11, 13)])
def test_forward_equals_the_formula_on_the_padded_grid(kind, dtype, shape):
    """Sizes with large prime factors are padded with zeros and cropped; so are sizes asked for."""
    padding = (4, 0, 2)
    x, direction = noise(shape), (0.3, -0.2, 0.9)
    operator = DipoleOperator(Grid(shape, VOXEL_SIZE, direction), kind, dtype, padding)
    padded_shape = operator.padded_grid.shape
    assert all(p >= n + m for p, n, m in zip(padded_shape, shape, padding, strict=True))
    padded = np.zeros(padded_shape)
    padded[tuple(slice(n) for n in shape)] = x
    expected = filtered(naive_kernel(kind, padded_shape, VOXEL_SIZE, direction), padded).real
    expected = expected[tuple(slice(n) for n in shape)]
    found = operator.forward(x.astype(dtype))
    assert found.dtype == dtype
    assert relative_error(found, expected) < (1e-6 if dtype == np.float32 else 1e-13)


@every_kind
@every_direction
def test_field_outside_a_sphere(kind, direction):
    """Known answer: the field of a dipole outside, none inside (less the periodic copies far away)."""
    shape, voxel_size, radius = (48, 48, 40), (1.0, 1.0, 1.2), 6.0
    susceptibility, expected, distance = sphere_field(shape, voxel_size, direction, radius, 1.0)
    operator = DipoleOperator(Grid(shape, voxel_size, direction), kind, np.float64, padding=48)
    field = operator.forward(susceptibility)
    near = (distance > 1.5 * radius) & (distance < 18)
    # Cut off at the Nyquist frequency, the oblique continuous kernel rings beside the sphere's edge.
    assert relative_error(field[near], expected[near]) < (0.08 if kind == "continuous" else 0.03)
    inside = distance < 0.6 * radius
    assert abs(field[inside].mean()) < 0.001
    assert np.abs(field[inside]).max() < (0.03 if kind == "continuous" else 0.01)


@every_kind
def test_padding_removes_the_field_of_the_periodic_copies(kind):
    shape = (20, 20, 20)
    susceptibility, expected, distance = sphere_field(shape, (1, 1, 1), (0, 0, 1), 5.0, 1.0)
    outside = distance > 8
    errors = [
        relative_error(
            DipoleOperator(Grid(shape), kind, np.float64, padding).forward(susceptibility)[outside], expected[outside]
        )
        for padding in (0, 10, 30)
    ]
    assert errors[0] > 1.5 * errors[1]
    assert errors[2] <= 1.001 * errors[1]
    assert errors[2] < 0.1


@every_kind
def test_uniform_susceptibility_has_no_field(kind):
    field = DipoleOperator(Grid((12, 9, 10), VOXEL_SIZE, (0.3, -0.2, 0.9)), kind, np.float64).forward(
        np.full((12, 9, 10), 3.0)
    )
    assert np.abs(field).max() < 1e-14


def test_unknown_kernel_is_refused_with_the_near_match():
    with pytest.raises(ParameterError, match="did you mean 'discrete'"):
        dipole_kernel(Grid((4, 4, 4)), "discret")


def test_wrong_shape_is_refused():
    with pytest.raises(DataError, match=r"expected shape \(4, 4, 4\), found \(4, 4, 5\)"):
        DipoleOperator(Grid((4, 4, 4))).forward(np.zeros((4, 4, 5)))


def test_negative_padding_is_refused():
    with pytest.raises(ParameterError, match="padding"):
        DipoleOperator(Grid((4, 4, 4)), padding=-1)
