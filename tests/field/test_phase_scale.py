import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsm_recon.errors import DataError, ParameterError
from qsm_recon.field.phase_scale import UNITS, phase_unit, rescale_phase

PHASE = np.random.default_rng(3).uniform(-np.pi, np.pi, 20_000)


def distance(a, b):
    return np.max(np.abs(np.angle(np.exp(1j * (np.asarray(a, dtype=np.float64) - b)))))


@pytest.mark.parametrize(
    ("written", "unit", "rounding"),
    [
        (PHASE, "rad", 1e-6),
        (PHASE % (2 * np.pi), "rad-positive", 1e-6),
        (np.degrees(PHASE), "degrees", 1e-5),
        (np.degrees(PHASE) % 360, "degrees-positive", 1e-5),
        (np.rint(PHASE * 1000), "milliradians", 6e-4),
        (np.rint(PHASE / np.pi * 500), "signed-500", 4e-3),
        (PHASE / np.pi, "half-turns", 1e-6),
        (PHASE / (2 * np.pi), "turns", 1e-6),
        (PHASE / (2 * np.pi) % 1, "turns-positive", 1e-6),
        (np.rint(PHASE / np.pi * 2048).clip(-2048, 2047), "signed-2048", 1.6e-3),
        (np.floor((PHASE / np.pi + 1) * 2048).astype(np.int16), "unsigned-4096", 1.6e-3),
        (2 * np.floor((PHASE / np.pi + 1) * 2048) - 4096, "signed-4096", 1.6e-3),
    ],
)
def test_usual_conventions_are_recognised_and_converted(written, unit, rounding):
    phase, scaling = rescale_phase(written)
    assert scaling.unit == unit
    assert scaling.recognised_automatically
    assert scaling.largest == np.max(written)
    assert phase.dtype == np.float32
    assert np.abs(phase).max() <= np.pi + 1e-6
    assert distance(phase, PHASE) < rounding


def test_the_two_twelve_bit_forms_agree():
    stored = np.arange(4096)
    assert distance(rescale_phase(stored)[0], rescale_phase(2.0 * stored - 4096)[0]) < 1e-6


def test_radians_that_do_not_fill_the_turn_must_be_named():
    with pytest.raises(DataError, match="not one full turn"):
        rescale_phase(0.4 * PHASE + 0.3)
    phase, scaling = rescale_phase(0.4 * PHASE + 0.3, "rad")
    assert not scaling.recognised_automatically
    np.testing.assert_allclose(phase, 0.4 * PHASE + 0.3, atol=1e-6)


def test_radians_of_a_masked_image_with_wraps_are_recognised():
    """Nothing else has a turn nearly as wide, so a little may be missing at the ends."""
    phase, scaling = rescale_phase(np.where(np.abs(PHASE) < 3.0, PHASE, 0))
    assert scaling.unit == "rad"
    assert np.abs(phase).max() < 3.0


@pytest.mark.parametrize(
    ("values", "unit", "word"),
    [
        (np.degrees(PHASE), "rad", "--phase-unit degrees"),
        (PHASE / np.pi, "rad", "--phase-unit half-turns"),
        (PHASE, "degrees", "--phase-unit rad"),
        (np.rint(PHASE * 1000), "rad", "--phase-unit milliradians"),
        (PHASE / 850, "rad", "0.0012 of a turn"),
        (PHASE / 850, "-8:8", "of a turn"),
    ],
)
def test_a_unit_that_contradicts_the_range_is_refused_unless_insisted_on(values, unit, word):
    with pytest.raises(DataError, match=word):
        rescale_phase(values, unit)
    phase, _ = rescale_phase(values, unit, accept_range=True)
    assert np.ptp(phase) == pytest.approx(np.ptp(values) * phase_unit(unit).rad_per_unit, rel=1e-5)


def test_any_range_can_be_named_by_both_ends_of_a_turn():
    phase, scaling = rescale_phase(PHASE / 850, f"{-np.pi / 850}:{np.pi / 850}")
    assert distance(phase, PHASE) < 1e-5
    assert scaling.rad_per_unit == pytest.approx(850)
    shifted, _ = rescale_phase((PHASE / np.pi + 1) * 100 + 7, "7:207")
    assert distance(shifted, PHASE) < 1e-5
    for bad in ("3:-3", "1:1", "0:inf", "a:b", "3"):
        with pytest.raises(ParameterError, match="LOW:HIGH"):
            phase_unit(bad)


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(-1.5, 1.5, 50),  # radians, or a field
        np.linspace(-0.4, 0.4, 50),  # turns, ppm or small radians
        np.linspace(-4.0, 4.0, 50),  # unwrapped radians
        np.linspace(-8192, 4096, 50),  # a rescaling applied twice
        np.linspace(-2800, 2800, 50),  # milliradians or 12 bits, not filling either
        np.linspace(-3200, 2850, 50),  # cut from 12 bits, by chance nearly as wide as milliradians
        np.linspace(0, 3000, 50),
        np.linspace(-60, 40, 50),
        np.linspace(0, 65535, 50),
        np.full(50, 1.0),
        np.arange(50) % 2,  # a mask
        np.arange(50) % 7 - 3.0,  # radians rounded to integers
    ],
)
def test_ambiguous_values_are_refused(values):
    with pytest.raises(DataError, match=r"echo1\.nii: values from"):
        rescale_phase(values, name="echo1.nii")


def test_a_named_unit_is_trusted():
    phase, scaling = rescale_phase(np.linspace(-0.4, 0.4, 5), unit="turns")
    np.testing.assert_allclose(phase, 2 * np.pi * np.linspace(-0.4, 0.4, 5), rtol=1e-6)
    assert not scaling.recognised_automatically
    unwrapped, _ = rescale_phase(np.linspace(-20, 20, 9), unit="rad")
    np.testing.assert_allclose(unwrapped, np.linspace(-20, 20, 9))
    with pytest.raises(ParameterError, match="did you mean 'degrees'"):
        rescale_phase(PHASE, unit="degreees")


def test_not_finite_values_are_counted():
    values = PHASE.copy()
    values[[3, 5]] = np.nan, np.inf
    with pytest.raises(DataError, match="2 values are not finite"):
        rescale_phase(values)


@given(unit=st.sampled_from(sorted(UNITS)), seed=st.integers(0, 99))
def test_conversion_never_depends_on_which_voxels_are_seen(unit, seed):
    """A subset of an image is converted with the same factor as the whole image, or refused."""
    convention = UNITS[unit]
    written = np.random.default_rng(seed).uniform(convention.low, convention.high, 4000)
    whole, scaling = rescale_phase(written)
    assert scaling.unit == unit
    part = np.sort(written)[seed * 10 : 4000 - seed * 15]
    try:
        converted, part_scaling = rescale_phase(part)
    except DataError:
        return
    if part_scaling.unit == unit:
        np.testing.assert_allclose(np.sort(converted), np.sort(whole[np.isin(written, part)]), atol=1e-5)
    else:  # values of 0 to pi in radians can be either convention: the phase is the same
        assert {unit, part_scaling.unit} == {"rad", "rad-positive"}


@pytest.mark.parametrize("name", sorted(UNITS))
def test_overwriting_gives_the_same_in_the_same_place(name):
    unit = UNITS[name]
    values = np.linspace(unit.low, unit.high, 999, dtype=np.float32)
    expected, scaling = rescale_phase(values, name)
    assert not np.shares_memory(expected, values)
    found, again = rescale_phase(values, name, overwrite=True)
    assert np.shares_memory(found, values)
    np.testing.assert_array_equal(found, expected)
    assert again == scaling
    other = np.linspace(unit.low, unit.high, 999)
    rescale_phase(other, name, overwrite=True)
    np.testing.assert_array_equal(other, np.linspace(unit.low, unit.high, 999))
