"""The parts that make the phantom's texture, fibres, veins and remnant, against formulas, without a head."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from qsm_recon.operators.grid import unit_vector
from qsm_recon.phantom.anatomy.fibres import PAIRS, TRACTS, orientation_tensor
from qsm_recon.phantom.anatomy.shapes import Points
from qsm_recon.phantom.anatomy.vessels import Surroundings, venous_tree
from qsm_recon.phantom.geometry import fine_grid, output_grid
from qsm_recon.phantom.microstructure import orientation_shift
from qsm_recon.phantom.random_fields import SmoothField
from qsm_recon.phantom.remnant import remnant_field
from qsm_recon.phantom.texture import power_law_texture
from qsm_recon.phantom.tissue import BLOOD, CSF, WHITE, TissueMaps, add_texture, property_maps, tissues_of

# Texture


def texture(spacing, count, seed=3, name="texture", strength=1.0, slope=3.0):
    axes = [np.arange(count) * spacing - 40 for _ in range(3)]
    return power_law_texture(seed, name, strength, slope, axes, spacing)


@pytest.mark.parametrize("slope", [2.0, 3.0, 4.0])
def test_spectrum_falls_with_the_asked_slope(slope):
    spacing, count = 1.0, 96
    values = texture(spacing, count, slope=slope).astype(float)
    window = np.hanning(count)
    taper = window[:, None, None] * window[None, :, None] * window[None, None, :]
    power = np.abs(np.fft.rfftn((values - values.mean()) * taper)) ** 2
    frequencies = np.fft.fftfreq(count, spacing), np.fft.fftfreq(count, spacing), np.fft.rfftfreq(count, spacing)
    k = np.sqrt(sum(f**2 for f in np.meshgrid(*frequencies, indexing="ij")))
    edges = np.geomspace(1 / 20, 1 / 3, 9)
    radial = [power[(k >= low) & (k < high)].mean() for low, high in pairwise(edges)]
    found = np.polyfit(np.log(np.sqrt(edges[:-1] * edges[1:])), np.log(radial), 1)[0]
    assert -found == pytest.approx(slope, abs=0.25)


def test_deviation_is_the_asked_one_over_many_seeds():
    # The mean is left in: a cube of 60 mm does not see the longest waves as waves.
    squares = [np.mean(texture(1.0, 60, seed=seed, strength=0.02).astype(float) ** 2) for seed in range(5)]
    assert math.sqrt(np.mean(squares)) == pytest.approx(0.02, rel=0.15)


def test_texture_is_the_same_at_every_resolution():
    fine, coarse = texture(0.7, 90), texture(1.4, 45)
    # Points 0, 2, 4 ... of the fine grid are those of the coarse one, which lacks an octave of six.
    common, rest = coarse.astype(float), fine[::2, ::2, ::2].astype(float) - coarse
    assert np.var(rest) == pytest.approx(1 / 6, rel=0.35)
    assert abs(np.corrcoef(common.ravel(), rest.ravel())[0, 1]) < 0.05
    assert np.array_equal(fine, texture(0.7, 90))
    for other in (texture(0.7, 90, seed=4), texture(0.7, 90, name="other")):
        assert abs(np.corrcoef(fine.ravel(), other.ravel())[0, 1]) < 0.6


def test_added_texture_goes_into_tissue_and_its_relaxation():
    tissues = tissues_of("sim2", 0.3)
    assert tissues[BLOOD.label].susceptibility_ppm == 0.3
    shape = (4, 4, 4)
    ones, zeros = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    iron, myelin = (np.full(shape, value, np.float32) for value in (0.008, -0.006))
    for label, share in ((WHITE.label, 1.0), (CSF.label, 0.3), (BLOOD.label, 0.0)):
        parts = [(tissues[label], ones)]
        before = property_maps(parts, zeros, zeros, zeros)
        maps = TissueMaps(*(getattr(before, name).copy() for name in vars(before)))
        add_texture(maps, parts, iron, myelin)
        assert maps.susceptibility_ppm - before.susceptibility_ppm == pytest.approx(share * 0.002, abs=1e-7)
        assert maps.r2star_per_s - before.r2star_per_s == pytest.approx(share * 0.008 / 0.0016, abs=1e-4)
        assert maps.r1_per_s - before.r1_per_s == pytest.approx(share * 0.006 / 0.12, abs=1e-5)
        assert np.array_equal(maps.m0, before.m0)
    parts = [(tissues[CSF.label], ones)]
    maps = property_maps(parts, zeros, zeros, zeros)
    add_texture(maps, parts, -10 * iron, zeros)
    assert maps.r2star_per_s.min() == pytest.approx(CSF.r2star_per_s)


# Microstructure


def tensor_of(*directions):
    """Naive mean of n nᵀ over unit vectors, as six components."""
    mean = np.mean([np.outer(n, n) for n in directions], axis=0)
    return np.array([mean[i, j] for i, j in PAIRS])


@pytest.mark.parametrize("b0", [(0, 0, 1), (1, 0, 0), (0.36, 0.48, 0.8)])
def test_shift_follows_the_squared_sine(b0):
    rng = np.random.default_rng(5)
    directions = rng.normal(size=(50, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    tensors = np.stack([tensor_of(n) for n in directions], axis=1)
    sine_squared = np.linalg.norm(np.cross(directions, b0), axis=1) ** 2
    assert orientation_shift(tensors, b0, -0.02) == pytest.approx(-0.02 * (sine_squared - 2 / 3), abs=1e-7)
    pairs = np.stack([tensor_of(n, m) for n, m in zip(directions[::2], directions[1::2], strict=True)], axis=1)
    expected = -0.02 * (sine_squared.reshape(-1, 2).mean(axis=1) - 2 / 3)
    assert orientation_shift(pairs, b0, -0.02) == pytest.approx(expected, abs=1e-7)


def test_no_shift_at_the_magic_angle_and_none_in_the_mean_over_directions():
    magic = math.acos(1 / math.sqrt(3))
    for azimuth in (0.0, 1.0, 4.0):
        n = (math.sin(magic) * math.cos(azimuth), math.sin(magic) * math.sin(azimuth), math.cos(magic))
        assert orientation_shift(tensor_of(n), (0, 0, 1), -0.02) == pytest.approx(0, abs=1e-9)
        assert orientation_shift(tensor_of((0, 0, 1)), n, -0.02) == pytest.approx(0, abs=1e-9)
    isotropic = np.array([1 / 3, 1 / 3, 1 / 3, 0, 0, 0])
    assert orientation_shift(isotropic, unit_vector((1, 2, 3)), -0.02) == pytest.approx(0, abs=1e-9)


def test_the_hollow_cylinder_shifts_its_inside_by_the_formula_that_is_cited():
    # Field at the centre of a sheath whose susceptibility is anisotropic along the radius, by summing line dipoles.
    inner, outer, isotropic, anisotropic = 0.8, 1.0, -0.1, -0.1
    radii = np.linspace(inner, outer, 2001)
    radii = (radii[:-1] + radii[1:]) / 2
    angles = (np.arange(720) + 0.5) * 2 * np.pi / 720
    r, phi = np.meshgrid(radii, angles, indexing="ij")
    area = (outer - inner) / len(radii) * r * 2 * np.pi / len(angles)
    # Across a unit field along x: magnetisation χ_r along the radius, χ_φ around it (radial part +1, others -1/2).
    radial = (isotropic + anisotropic) * np.cos(phi)
    around = -(isotropic - anisotropic / 2) * np.sin(phi)
    mx, my = radial * np.cos(phi) - around * np.sin(phi), radial * np.sin(phi) + around * np.cos(phi)
    # A line dipole m at r makes the field (2 (m·n) n - m) / (2π r²) at the origin.
    along = 2 * (mx * np.cos(phi) + my * np.sin(phi)) * np.cos(phi) - mx
    field = np.sum(along / (2 * np.pi * r**2) * area)
    assert field == pytest.approx(0.75 * anisotropic * math.log(outer / inner), rel=1e-5)
    # A field at an angle θ to the fibre has the part sin θ across it, and sees sin θ of what that makes: sin²θ of it.


@pytest.fixture(scope="module")
def everywhere():
    rng = np.random.default_rng(1)
    return Points(*(rng.uniform(low, high, 4000).astype(np.float32) for low, high in ((-60, 60), (-90, 60), (-60, 60))))


def test_orientation_tensors_are_means_of_directions(everywhere):
    tensor = orientation_tensor(everywhere)
    assert tensor[:3].sum(axis=0) == pytest.approx(1, abs=1e-4)
    full = np.empty((len(everywhere.x), 3, 3))
    for component, (i, j) in zip(tensor, PAIRS, strict=True):
        full[:, i, j] = full[:, j, i] = component
    values = np.linalg.eigvalsh(full)
    assert values.min() > -1e-4
    assert np.median(values[:, 2]) > 0.7, "most places have one main direction"
    mirrored = orientation_tensor(Points(-everywhere.x, everywhere.y, everywhere.z))
    signs = np.array([1, 1, 1, -1, -1, 1])
    assert np.allclose(mirrored, signs[:, None] * tensor, atol=2e-4)


@pytest.mark.parametrize(
    ("place", "direction"),
    [
        ((0.0, 4.0, 22.0), (1, 0, 0)),  # corpus callosum
        ((0.0, -18.0, -28.0), (1, 0, 0)),  # across the pons
        ((24.5, -19.0, 26.0), (0, 0, 1)),  # internal capsule
        ((-38.0, -14.0, 24.0), (0, 1, 0)),  # superior longitudinal fascicle
        ((3.5, -41.0, -60.0), (0, 0, 1)),  # medulla
    ],
)
def test_fibres_run_as_anatomy_has_them(place, direction):
    tensor = orientation_tensor(Points(*(np.array([c], np.float32) for c in place)))[:, 0]
    axis = int(np.argmax(direction))
    assert tensor[axis] > 0.6
    assert all(len(nodes) > 1 for nodes in TRACTS)


# Veins


@pytest.fixture(scope="module")
def surroundings():
    """A ball of 70 mm with flat sulci 12 mm apart and a small ventricle in its middle."""
    axes = [np.arange(-111, 112, 3.0, dtype=np.float32)] * 3
    x, y, z = np.meshgrid(*axes, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    fields = 70 - radius, (x + 6) % 12 - 6, np.clip(np.sqrt(x**2 + y**2 / 4 + (z - 12) ** 2) - 12, -30, 30)
    return Surroundings(*(SmoothField(f.astype(np.float32), (-111.0,) * 3, 3.0) for f in fields))


def test_density_changes_the_number_of_veins_and_keeps_those_that_are_there(surroundings):
    usual = venous_tree(2, surroundings)
    none, half, twice, most = (venous_tree(2, surroundings, density) for density in (0.0, 0.5, 2.0, 2.5))
    assert len(none) < len(half) < len(usual) < len(twice) < len(most)
    assert np.array_equal(half[: len(none)], none), "the named veins stay"
    assert np.array_equal(twice[: len(usual)], usual)
    assert np.array_equal(most[: len(twice)], twice)
    grown = [len(tree) - len(none) for tree in (half, usual, twice, most)]
    assert np.array(grown) / grown[1] == pytest.approx([0.5, 1, 2, 2.5], abs=0.05)
    first, second = usual[len(none) :, :3], twice[len(usual) :, :3]
    assert not np.isin(second[:, 0], first[:, 0]).any(), "the second generation grows elsewhere"
    assert len(venous_tree(2, surroundings, 0.001)) > len(none)


# Remnant


def test_another_stream_gives_another_remnant_of_the_same_size():
    output = output_grid((6.0, 6.0, 6.0))
    grid = fine_grid(output, 3.0)
    masks = []
    for g in (grid, output):
        x, y, z = np.meshgrid(*g.axes_mm, indexing="ij")
        masks.append((x / 64) ** 2 + ((y + 17) / 80) ** 2 + ((z - 8) / 60) ** 2 < 1)
    first, second, turned = (
        remnant_field(grid, b0, *masks, 0.003, (2, name))
        for name, b0 in (("a", (0, 0, 1)), ("b", (0, 0, 1)), ("a", (1, 0, 0)))
    )
    for field in (first, second, turned):
        assert np.sqrt(np.mean(field[masks[0]].astype(float) ** 2)) == pytest.approx(0.003, rel=0.05)
    for other in (second, turned):
        assert abs(np.corrcoef(first[masks[0]], other[masks[0]])[0, 1]) < 0.6
    assert np.array_equal(first, remnant_field(grid, (0, 0, 1), *masks, 0.003, (2, "a")))
