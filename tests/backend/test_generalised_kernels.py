"""Kernels of total generalised variation: operators, adjoints, and the solve per frequency."""

import numpy as np
import pytest
from oracles import relative_error
from oracles.fields import difference_symbols, dipole_kernel
from oracles.variational import COUNTS, PAIRS

from qsm_recon.backend.kernels.frequency import solve_susceptibility, solve_with_background
from qsm_recon.backend.kernels.generalised import adjoint_plane, eliminate_vector, recover_vector, shrink_plane
from qsm_recon.operators.gradient import forward_difference, squared_difference_symbol

SPACING = (1.0, 1.3, 0.7)
SHAPES = [(4, 5, 6), (5, 4, 7)]
MU1, MU0, MU2, MUH = 0.3, 0.8, 1.7, 0.6


def parts_by_kernel(x, v, first=(0.0, 0.0, 1.0, 1.0), second=(0.0, 0.0, 1.0, 1.0), states=None, update=True):
    """z - s of both splittings; with thresholds of zero these are ∇x - v and ε(v)."""
    shape, dtype = x.shape, x.dtype
    u1, u0 = states or (np.zeros((3, *shape), dtype), np.zeros((6, *shape), dtype))
    signed, sums = np.zeros((shape[0], 9, *shape[1:]), dtype), np.zeros((2, 5))
    settings = [tuple(dtype.type(value) for value in values) for values in (first, second)]
    inverse = tuple(dtype.type(1 / h) for h in SPACING)
    for plane in range(shape[0]):
        weights = np.zeros((0, *shape), dtype)
        beyond = v[:, (plane + 1) % shape[0]]
        shrink_plane(
            x, v[:, plane], beyond, u1, u0, weights, plane, shape[2], inverse, *settings, update, signed[plane], sums
        )
    return np.moveaxis(signed, 1, 0), sums


def adjoint_by_kernel(signed, mu1=1.0, mu0=1.0):
    planes = np.ascontiguousarray(np.moveaxis(signed, 1, 0))
    shape, dtype = (planes.shape[0], *planes.shape[2:]), planes.dtype
    inverse = tuple(dtype.type(1 / h) for h in SPACING)
    out = np.zeros((shape[0], 4, *shape[1:]), dtype)
    for plane in range(shape[0]):
        adjoint_plane(planes[plane], planes[plane - 1], shape[2], inverse, dtype.type(mu1), dtype.type(mu0), out[plane])
    return np.moveaxis(out, 1, 0)


def draw(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape), rng.standard_normal((3, *shape)), rng.standard_normal((9, *shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_symmetrised_gradient_is_half_the_sum_of_the_jacobian_and_its_transpose(shape):
    x, v, _ = draw(shape)
    signed, _ = parts_by_kernel(x, v)
    jacobian = np.stack([forward_difference(component, SPACING) for component in v])
    assert np.allclose(signed[:3], forward_difference(x, SPACING) - v, rtol=0, atol=1e-13)
    for row, (i, j) in enumerate(PAIRS, start=3):
        assert np.allclose(signed[row], (jacobian[i, j] + jacobian[j, i]) / 2, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
def test_adjoint_in_the_inner_product_that_counts_off_diagonal_components_twice(shape):
    x, v, p = draw(shape)
    signed, _ = parts_by_kernel(x, v)
    adjoint = adjoint_by_kernel(p, MU1, MU0)
    left = np.vdot(signed[:3], p[:3]), np.vdot(signed[:3], MU1 * p[:3]), np.sum(COUNTS * signed[3:] * MU0 * p[3:])
    # ∇ᵀ comes without mu1, and the other three hold mu0 εᵀ and -mu1.
    gradient_part = np.vdot(forward_difference(x, SPACING), p[:3])
    assert np.vdot(x, adjoint[0]) == pytest.approx(gradient_part, rel=1e-12)
    assert MU1 * gradient_part + np.vdot(v, adjoint[1:]) == pytest.approx(left[1] + left[2], rel=1e-12)


def test_shrinkage_and_sums():
    """One update from a state that is not zero, with over-relaxation and a changed penalty."""
    shape = SHAPES[0]
    x, v, _ = draw(shape)
    rng = np.random.default_rng(7)
    states = rng.standard_normal((3, *shape)), rng.standard_normal((6, *shape))
    before = [state.copy() for state in states]
    first, second = (0.5, 0.2, 2.5, 1.6), (0.3, 0.6, 0.5, 1.6)
    kept, _ = parts_by_kernel(x, v, first, second, states, update=False)
    assert all(np.array_equal(a, b) for a, b in zip(states, before, strict=True))
    signed, sums = parts_by_kernel(x, v, first, second, states)
    assert np.array_equal(kept, signed)
    d, _ = parts_by_kernel(x, v)
    pieces = ((first, d[:3], before[0], 1.0, signed[:3]), (second, d[3:], before[1], COUNTS, signed[3:]))
    for row, ((old, new, ratio, relaxation), d, u, counts, found) in enumerate(pieces):
        s_old = np.clip(u, -old, old)
        z_old = u - s_old
        q = relaxation * d + (1 - relaxation) * z_old + ratio * s_old
        z = np.sign(q) * np.maximum(np.abs(q) - new, 0)
        s = q - z
        assert np.allclose(found, z - s, rtol=0, atol=1e-13)
        terms = (np.abs(d), (d - z) ** 2, (z - z_old) ** 2, z**2, s**2)
        assert sums[row] == pytest.approx([np.sum(counts * term) for term in terms], rel=1e-12)


def published_system(e, d):
    """The 4 x 4 matrix of one frequency as the FANSI papers' toolbox states it."""
    squares = np.abs(e) ** 2
    a = np.zeros((4, 4), complex)
    a[0, 0] = MU2 * d**2 + MU1 * squares.sum()
    for i in range(3):
        a[0, 1 + i], a[1 + i, 0] = -MU1 * np.conj(e[i]), -MU1 * e[i]
        for j in range(3):
            a[1 + i, 1 + j] = MU0 / 2 * np.conj(e[j]) * e[i]
        a[1 + i, 1 + i] = MU1 + MU0 * (squares[i] + (squares.sum() - squares[i]) / 2)
    return a


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.complex128, 1e-12), (np.complex64, 1e-5)])
@pytest.mark.parametrize("shape", SHAPES)
def test_elimination_solves_the_published_four_by_four_system(shape, dtype, tolerance):
    rng = np.random.default_rng(3)
    half = shape[2] // 2 + 1
    kernel = dipole_kernel("continuous", shape, SPACING, (0.2, 0.3, 1))
    symbols = np.stack(difference_symbols(shape, SPACING))
    spectra = np.fft.rfftn(rng.standard_normal((4, *shape)), axes=(1, 2, 3)).astype(dtype)
    field = np.fft.rfftn(rng.standard_normal(shape)).astype(dtype)
    expected = np.zeros((4, *shape[:2], half), complex)
    scale = 0.25
    for i in np.ndindex(expected.shape[1:]):
        e, d = symbols[(slice(None), *i)], kernel[i]
        right = spectra[(slice(None), *i)].astype(complex)
        right[0] = MU1 * right[0] + MU2 * d * field[i]
        expected[(slice(None), *i)] = np.linalg.pinv(published_system(e, d), hermitian=True) @ right * scale
    real = spectra.real.dtype
    along = [
        ((np.exp(2j * np.pi * np.fft.fftfreq(n)) - 1) / h).astype(dtype) for n, h in zip(shape, SPACING, strict=True)
    ]
    squared = [squared_difference_symbol(n, h).astype(real) for n, h in zip(shape, SPACING, strict=True)]
    mu1, mu0, mu2, coupling, one = (real.type(v) for v in (MU1, MU0, MU2, MU1 / MU0, scale))
    cut = kernel[..., :half].astype(real)
    for a, b in ((0, 2), (2, shape[1])):
        eliminate_vector(spectra, *along, a, b, half, mu1, mu0)
        solve_susceptibility(spectra[0], field, cut, *squared, a, b, half, mu1, coupling, mu2, one)
        recover_vector(spectra, *along, a, b, half, mu1, mu0, one)
    for found, known in zip(spectra, expected, strict=True):
        assert relative_error(np.stack([found.real, found.imag]), np.stack([known.real, known.imag])) < tolerance


@pytest.mark.parametrize("coupling", [0.0, 0.4])
@pytest.mark.parametrize("zero_frequency", [0.0, 1 / 3])
def test_background_and_susceptibility_solve_their_joint_system(coupling, zero_frequency):
    """Least squares in χ and h per frequency, as 2 x 2 systems; χ zero where it is not determined."""
    shape = SHAPES[0]
    rng = np.random.default_rng(6)
    half = shape[2] // 2 + 1
    kernel = dipole_kernel("continuous", shape, SPACING, (0.2, 0.3, 1))
    kernel[0, 0, 0] = zero_frequency
    laplacian = np.sum(np.abs(np.stack(difference_symbols(shape, SPACING))) ** 2, axis=0)
    a, b, c = np.fft.rfftn(rng.standard_normal((3, *shape)), axes=(1, 2, 3))
    expected = np.zeros((3, *shape[:2], half), complex)
    for i in np.ndindex(expected.shape[1:]):
        d, full = kernel[i], laplacian[i]
        smooth = full**2 / (coupling + full) if coupling else full
        matrix = np.array([[MU2 * d**2 + MU1 * smooth, MU2 * d], [MU2 * d, MU2 + MUH * full**2]])
        right = np.array([MU1 * a[i] + MU2 * d * b[i], MU2 * b[i] + MUH * full * c[i]])
        if full == 0:  # the mean of the field is the background's
            chi, background = 0.0, b[i]
        else:
            chi, background = np.linalg.solve(matrix, right)
        expected[(slice(None), *i)] = chi, d * chi + background, full * background
    squared = [squared_difference_symbol(n, h) for n, h in zip(shape, SPACING, strict=True)]
    for first, last in ((0, 3), (3, shape[1])):
        solve_with_background(
            a, b, c, kernel[..., :half].copy(), *squared, *squared, first, last, half, MU1, coupling, MU2, MUH, 1.0
        )
    for found, known in zip((a, b, c), expected, strict=True):
        assert np.linalg.norm(found - known) < 1e-11 * np.linalg.norm(known)
