import numpy as np
import pytest

from qsm_recon.errors import DataError, ParameterError
from qsm_recon.field.echoes import EchoSeries, check_b0, stack_echoes
from qsm_recon.field.phase_scale import rescale_phase
from qsm_recon.field.voxels import check_mask

TIMES = (0.004, 0.012, 0.020)


def series(**changes):
    rng = np.random.default_rng(1)
    decay = np.exp(-30 * np.asarray(TIMES))
    inputs = {
        "magnitude": (1 + rng.random((3, 4, 5, 1))) * decay,
        "phase_rad": rng.uniform(-3, 3, (3, 4, 5, 3)),
        "echo_times_s": TIMES,
        "b0_tesla": 7.0,
    }
    return EchoSeries(**{**inputs, **changes})


def test_good_series_is_kept_as_float32_and_read_only():
    magnitude = np.ones((3, 4, 5, 3), dtype=np.float32)
    echoes = series(magnitude=magnitude)
    assert echoes.shape == (3, 4, 5)
    assert echoes.magnitude.dtype == echoes.phase_rad.dtype == np.float32
    assert not echoes.magnitude.flags.writeable
    assert magnitude.flags.writeable  # the caller's array is left alone
    assert echoes.nyquist_hz == pytest.approx(62.5)


def test_single_echo_may_be_three_dimensional():
    echoes = EchoSeries(np.ones((2, 3, 4)), np.zeros((2, 3, 4)), (0.02,), 3.0)
    assert echoes.echo_count == 1
    assert echoes.nyquist_hz == pytest.approx(25)


def test_nearly_anything_wrong_is_named():
    good = np.ones((3, 4, 5, 3))
    with pytest.raises(DataError, match=r"magnitude has shape .* but phase has shape"):
        series(magnitude=np.ones((3, 4, 6, 3)))
    with pytest.raises(DataError, match=r"phase holds 2 echoes .* 3 echo times"):
        series(phase_rad=np.zeros((3, 4, 5, 2)))
    with pytest.raises(DataError, match="exchanged"):
        series(magnitude=-good)
    with pytest.raises(DataError, match="echo 2 is zero everywhere"):
        series(magnitude=good * [1, 0, 1])
    with pytest.raises(DataError, match="another order than the echo times"):
        series(magnitude=good * [0.3, 0.6, 1.0])
    with pytest.raises(DataError, match="raw scanner units"):
        series(phase_rad=good * 4095)
    with pytest.raises(DataError, match="complex"):
        series(phase_rad=good * 1j)
    bad = good.copy()
    bad[1, 2, 3, 1] = np.nan
    with pytest.raises(DataError, match=r"phase holds 1 values .* voxel \(1, 2, 3\) of echo 2"):
        series(phase_rad=bad)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ((4.0, 12.0, 20.0), "look like milliseconds"),
        ((0.012, 0.004, 0.020), "do not increase"),
        ((0.004, 0.004, 0.020), "do not increase"),
        ((0.0, 0.004, 0.020), "positive"),
        ((0.004, np.nan, 0.020), "positive"),
    ],
)
def test_echo_times_are_checked(times, message):
    with pytest.raises(DataError, match=message):
        series(echo_times_s=times)


@pytest.mark.parametrize("b0", [0.0, -3.0, np.inf, 123.2e6, 3000.0])
def test_field_strength_is_checked(b0):
    with pytest.raises(DataError, match="b0_tesla"):
        series(b0_tesla=b0)


def test_stacking_images_names_the_odd_one_out():
    a = np.zeros((2, 3, 4))
    assert stack_echoes([a, a + 1], ["e1.nii", "e2.nii"], "phase").shape == (2, 3, 4, 2)
    assert stack_echoes([np.zeros((2, 3, 4, 5))], ["all.nii"], "phase").shape == (2, 3, 4, 5)
    assert stack_echoes([a], ["one.nii"], "phase").shape == (2, 3, 4, 1)
    with pytest.raises(DataError, match=r"phase e2.nii: has shape \(2, 3, 5\), but e1.nii has shape \(2, 3, 4\)"):
        stack_echoes([a, np.zeros((2, 3, 5))], ["e1.nii", "e2.nii"], "phase")
    with pytest.raises(DataError, match="at least one image"):
        stack_echoes([], [], "phase")


@pytest.mark.parametrize("b0", ["3", None, True, [3.0, 7.0], 3j])
def test_field_strength_is_a_number(b0):
    with pytest.raises(DataError, match="b0_tesla: expected a field strength in T, such as 3 or 7, found"):
        series(b0_tesla=b0)
    assert series(b0_tesla=np.array([[3.0]])).b0_tesla == 3.0  # as files of MATLAB hold it


@pytest.mark.parametrize("name", ["magnitude", "phase_rad"])
def test_hidden_and_foreign_values_are_no_measurement(name):
    """What a masked array hides was taken as measured."""
    image = getattr(series(), name)
    hidden = np.zeros(image.shape, bool)
    hidden[1, 1, 1] = True
    short = name.removesuffix("_rad")
    with pytest.raises(
        DataError, match=rf"{short} holds \d+ values that are not finite, the first at voxel \(1, 1, 1\)"
    ):
        series(**{name: np.ma.array(image, mask=hidden)})
    with pytest.raises(DataError, match=f"{short}: expected real numbers, found object"):
        series(**{name: image.astype(object)})


def test_hidden_phase_is_not_known():
    phase = np.linspace(-np.pi, np.pi, 1000)
    with pytest.raises(DataError, match="phase: 1 values are not finite"):
        rescale_phase(np.ma.array(phase, mask=phase == phase[7]))
    with pytest.raises(DataError, match="phase: expected real phase values, found <U1"):
        rescale_phase("x", "rad")
    with pytest.raises(ParameterError, match="phase unit '5' is unknown"):
        rescale_phase(phase, 5)


def test_hidden_voxels_are_outside_the_mask():
    hidden = np.arange(24).reshape(2, 3, 4) % 2 == 0
    assert np.array_equal(check_mask(np.ma.array(np.ones((2, 3, 4), bool), mask=hidden), (2, 3, 4)), ~hidden)


def test_a_frequency_in_place_of_the_field_strength_is_recognised():
    with pytest.raises(DataError, match=r"b0_tesla is 127\.73: .* 127\.73 MHz would be 3 T"):
        check_b0(127.73)
    with pytest.raises(DataError, match=r"b0_tesla is -3: expected a field strength in T, such as 3 or 7$"):
        check_b0(-3)
