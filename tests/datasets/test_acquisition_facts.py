"""What a scanner, a converter or a shell did to the data is found, mended or refused; each with the right field."""

import json

import numpy as np
import pytest

from qsm_recon.datasets import case_from_files, load_case
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.io import save_image
from qsm_recon.units import hz_per_ppm

X = np.linspace(-0.5, 0.5, 20)[:, None, None, None]
SIGNS = np.array([1, -1, 1, -1])


@pytest.fixture
def read(scan, files):
    """Read the echoes with changes; returns the case and the largest error of its field in ppm, less a constant."""

    def execute(**changes):
        known = {"phase": files.phase, "magnitude": files.magnitudes, "mask": files.mask, "b0_tesla": scan.b0}
        case = case_from_files(**{**known, "echo_times_s": scan.times, **changes})
        mask = case.problem.mask
        difference = (case.problem.field_ppm - scan.field_ppm)[mask]
        return case, float(np.abs(difference - np.median(difference)).max())

    return execute


def wrapped(angle):
    return np.angle(np.exp(1j * angle)).astype(np.float32)


def noted(case, *words):
    return any(all(word in note for word in words) for note in case.notes)


# ---- bipolar readouts ----


@pytest.mark.parametrize("ramp", [0.0, 1.0])
def test_a_bipolar_readout_is_found_and_fitted(scan, files, read, ramp):
    phase = files.write("bipolar", wrapped(scan.phase + SIGNS * (0.4 + ramp * X)))
    case, error = read(phase=phase)
    assert error < 1e-3
    assert case.field_estimate["bipolar"]
    assert case.field_estimate["bipolar_test"]["present"]
    assert case.field_estimate["median_residual"] < 0.01
    assert noted(case, "bipolar readout", "fitted as well")


@pytest.mark.parametrize("count", [3, 4])
def test_the_echoes_that_methods_fit_are_free_of_a_bipolar_phase(scan, files, read, count):
    """One frequency and one initial phase explain them, as without the readout."""
    turned = wrapped(scan.phase + SIGNS * (0.4 + 2.0 * X))[..., :count]
    case, _ = read(
        phase=files.write("bipolar", turned), magnitude=files.write("some", scan.magnitude[..., :count]),
        echo_times_s=scan.times[:count],
    )  # fmt: skip
    problem = case.problem
    signal = problem.echoes[problem.mask]
    field = problem.field_ppm[problem.mask] * hz_per_ppm(problem.b0_tesla)
    left = signal * np.exp(-2j * np.pi * field[:, None] * np.array(problem.echo_times_s))
    assert np.abs(np.angle(left[:, 1:] * left[:, :-1].conj())).max() < 0.02  # 0.8 rad and more as they were read
    np.testing.assert_allclose(np.abs(signal), scan.magnitude[..., :count][problem.mask], rtol=1e-5)


def test_a_monopolar_readout_is_fitted_as_before(read):
    case, error = read()
    assert error < 2e-4
    assert not case.field_estimate["bipolar"]
    assert case.field_estimate["bipolar_test"]["voxels"] > 500
    assert not noted(case, "bipolar")


def test_the_term_can_be_forced_and_left_out(scan, files, read, caplog):
    phase = files.write("bipolar", wrapped(scan.phase + SIGNS * (0.4 + X)))
    case, error = read(phase=phase, bipolar="no")
    assert error > 3e-3
    assert noted(case, "warning", "not fitted")
    assert noted(case, "warning", "do not follow one frequency")
    assert case.field_estimate["median_residual"] > 0.2
    assert "median relative residual" in caplog.text
    case, error = read(bipolar="yes")
    assert error < 5e-4
    assert noted(case, "as asked")


def test_differences_of_echoes_refuse_what_they_cannot_take(scan, files, read):
    phase = files.write("bipolar", wrapped(scan.phase + SIGNS * 0.4))
    with pytest.raises(DataError, match=r"bipolar\.nii\.gz: .*--field-estimate fit.*--bipolar no"):
        read(phase=phase, field_estimate="difference")
    with pytest.raises(ParameterError, match="belongs to the method 'fit'"):
        read(phase=phase, field_estimate="difference", bipolar="yes")
    case, _ = read(phase=phase, field_estimate="difference", bipolar="no")
    assert noted(case, "warning", "not fitted")


def test_two_echoes_say_that_they_cannot_tell(scan, files, read):
    case, _ = read(
        phase=files.write("p2", scan.phase[..., :2]), magnitude=files.write("m2", scan.magnitude[..., :2]),
        echo_times_s=scan.times[:2],
    )  # fmt: skip
    assert noted(case, "two cannot tell")


# ---- the order of files ----


def apart(files, scan, pattern, numbers, part="phase"):
    image = getattr(scan, part)
    return [str(files.write(pattern.format(n), image[..., i])) for i, n in enumerate(numbers)]


@pytest.mark.parametrize("pattern", ["{}_{}", "{}TE{}ms", "echo-{1}_{0}"])
def test_files_as_a_shell_lists_them_are_put_in_order(scan, files, read, pattern):
    numbers = (8, 9, 10, 11)
    phases = apart(files, scan, pattern.replace("{0}", "ph").replace("{1}", "{}").replace("{}", "ph", 1)
                   if "{1}" not in pattern else "echo-{}_ph", numbers)  # fmt: skip
    magnitudes = apart(files, scan, "echo-{}_mag" if "{1}" in pattern else "mag_{}", numbers, "magnitude")
    case, error = read(phase=sorted(phases), magnitude=sorted(magnitudes))
    assert sorted(phases) != phases
    assert error < 2e-4
    assert noted(case, "phase: files given in alphabetical order", "10, 11, 8, 9")
    assert noted(case, "magnitude: files given in alphabetical order")


def test_another_order_than_that_of_the_names_is_refused(scan, files, read):
    phases = apart(files, scan, "ph_{}", (1, 2, 3, 4))
    with pytest.raises(DataError, match="the file names say echoes 1, 3, 2, 4"):
        read(phase=[phases[i] for i in (0, 2, 1, 3)])


def sidecars(paths, times, **fields):
    for path, time in zip(paths, times, strict=True):
        with open(path.replace(".nii.gz", ".json"), "w", encoding="utf-8") as stream:  # noqa: PTH123
            json.dump({"EchoTime": time, **fields}, stream)


def test_sidecars_count_more_than_names_and_give_what_is_missing(scan, files, read):
    phases, magnitudes = (apart(files, scan, part + "_{}", (7, 3, 5, 4), part) for part in ("phase", "magnitude"))
    for paths in (phases, magnitudes):
        sidecars(paths, scan.times, MagneticFieldStrength=scan.b0)
    mixed = [2, 0, 3, 1]
    case, error = read(
        phase=[phases[i] for i in mixed], magnitude=[magnitudes[i] for i in mixed], b0_tesla=None, echo_times_s=()
    )
    assert error < 2e-4
    assert case.problem.b0_tesla == scan.b0
    assert case.problem.echo_times_s == scan.times
    assert noted(case, "phase: files ordered by EchoTime")
    assert noted(case, "echo times from the JSON files")
    with pytest.raises(DataError, match=r"phase_7\.nii\.gz: its JSON file says an echo time of 0.004 s, but 0.005 s"):
        read(phase=phases, magnitude=magnitudes, echo_times_s=(0.005, 0.012, 0.020, 0.028))
    sidecars(phases[1:2], scan.times[1:2], MagneticFieldStrength=3)
    with pytest.raises(DataError, match=r"MagneticFieldStrength differs .*\[3.0, 7.0\]"):
        read(phase=phases, magnitude=magnitudes, b0_tesla=None)


def test_files_are_not_put_in_order_beside_others_that_stay_as_they_are(scan, files, read):
    """Phases moved by their JSON files, magnitudes without any kept their places: each was fitted with another's."""
    names = "badc"
    phases, magnitudes = (apart(files, scan, part + "_{}", names, part) for part in ("phase", "magnitude"))
    sidecars(phases, scan.times)
    given = {"phase": sorted(phases), "magnitude": sorted(magnitudes)}
    with pytest.raises(
        DataError, match=r"magnitude_a\.nii\.gz: neither .* put in order \(phase: files ordered by Echo"
    ):
        read(**given)
    _, error = read(**(given | {"magnitude": files.magnitudes}))  # one 4D file, whose volumes are in order
    assert error < 2e-4
    _, error = read(phase=phases, magnitude=magnitudes)
    assert error < 2e-4
    sidecars(magnitudes, scan.times)
    case, error = read(**given)
    assert error < 2e-4
    inside = case.problem.mask
    np.testing.assert_allclose(np.abs(case.problem.echoes[inside]), scan.magnitude[inside], rtol=1e-5)


def test_volumes_in_another_order_than_the_times_are_warned_of(scan, files, read):
    mixed = [0, 2, 1, 3]
    case, _ = read(phase=files.write("mixed", scan.phase[..., mixed]))
    assert case.field_estimate["median_residual"] > 0.15
    assert noted(case, "warning", "do not follow one frequency")


# ---- range, unit and sign of the phase ----


@pytest.mark.parametrize(
    ("factor", "offset", "unit"),
    [
        (1 / np.pi, 0, "auto"),
        (0.5 / np.pi, 0.5, "auto"),
        (2048 / np.pi, 0, "auto"),
        (180 / np.pi, 0, "auto"),
        (1 / 850, 0, f"{-np.pi / 850}:{np.pi / 850}"),
        (1 / np.pi, 0, "half-turns"),
    ],
)
def test_phase_of_any_range_gives_the_right_field(scan, files, read, factor, offset, unit):
    rng = np.random.default_rng(0)
    noise = np.where(scan.mask[..., None], scan.phase, rng.uniform(-np.pi, np.pi, scan.phase.shape))  # air fills a turn
    _, error = read(phase=files.write("scaled", factor * noise + offset), phase_unit=unit)
    assert error < 3e-4


SCALED = 4096 / np.pi


@pytest.mark.parametrize(
    ("factors", "offset", "file"),
    [
        ((SCALED, 1, SCALED, SCALED), 0, "echo2"),
        ((1, 1, 1000, 1), 0, "echo1"),
        ((SCALED, SCALED, SCALED, 2048 / np.pi), 2048, "echo4"),
    ],
)
def test_echoes_in_several_units_are_refused(scan, files, read, factors, offset, file):
    """A converter that scaled one echo alone; all of them were taken for the widest unit, which made another map."""
    rng = np.random.default_rng(0)
    noise = np.where(scan.mask[..., None], scan.phase, rng.uniform(-np.pi, np.pi, scan.phase.shape))
    echoes = noise * factors + [0, 0, 0, offset]
    one_each = [files.write(f"echo{k + 1}", echoes[..., k]) for k in range(4)]
    with pytest.raises(DataError, match=rf"{file}.nii.gz: values from .* one turn as .*convert the echoes to one unit"):
        read(phase=one_each)
    with pytest.raises(DataError, match=r"all.nii.gz \(echo \d\): values from .* convert the echoes to one unit"):
        read(phase=files.write("all", echoes))
    read(phase=one_each, accept_range=True)


@pytest.mark.parametrize("share", [0.05, 1 / 3, 1 / np.pi, 0.5 / np.pi])
def test_an_early_echo_may_fill_as_little_of_a_turn_as_it_likes(scan, files, read, share):
    early = np.where(scan.mask, np.clip(scan.phase[..., 0], -np.pi * share, np.pi * share), 0)
    phase = np.concatenate([early[..., None], scan.phase[..., 1:]], axis=3)
    read(phase=files.write("masked", phase))
    read(phase=files.write("integers", np.rint(SCALED * phase)), phase_unit="signed-4096")


def test_a_phase_of_the_other_sign(scan, files, read):
    negative = files.write("negative", -scan.phase)
    case, error = read(phase=negative, phase_sign="negative")
    assert error < 2e-4
    assert noted(case, "opposite sign")
    case, _ = read(phase=negative)
    mask = case.problem.mask
    assert np.corrcoef(case.problem.field_ppm[mask], scan.field_ppm[mask])[0, 1] < -0.99


def test_a_phase_that_is_nowhere_known_is_no_signal_where_no_mask_leaves_it_out(scan, files, read):
    """Division of zero by zero while coils are combined; it was a phase of 0 with the weight of its magnitude."""
    unknown = scan.mask & (np.random.default_rng(2).random(scan.mask.shape) < 0.02)
    phase, magnitude = scan.phase.copy(), scan.magnitude.copy()
    phase[unknown, 1:] = np.nan
    magnitude[3:6, 9:12, 8] = np.inf
    unknown[3:6, 9:12, 8] = True
    case, error = read(phase=files.write("holes", phase), magnitude=files.write("bright", magnitude), mask=None)
    assert error < 1e-3  # 0.05 where those voxels count
    assert not (case.problem.mask & unknown).any()
    assert noted(case, "holes.nii.gz", f"{unknown.sum()} voxels", "count as without signal")
    assert not noted(case, "outside the mask")


@pytest.mark.parametrize("echoes", [1, 4])
def test_slices_of_alternating_sign_are_mended(scan, files, echoes):
    flipped = scan.phase + np.pi * (np.arange(18) % 2)[:, None]
    known = {"magnitude": scan.magnitude, "phase": scan.phase, "flipped": wrapped(flipped)}
    paths = {name: files.write(name, image[..., 4 - echoes :]) for name, image in known.items()}
    common = {"mask": files.mask, "b0_tesla": scan.b0, "echo_times_s": scan.times[4 - echoes :], "phase_unit": "rad"}
    plain, mended = (
        case_from_files(phase=paths[name], magnitude=paths["magnitude"], **common) for name in ("phase", "flipped")
    )
    difference = (mended.problem.field_ppm - plain.problem.field_ppm)[plain.problem.mask]
    assert np.ptp(difference) < 1e-4
    assert noted(mended, "slices along axis 3", "opposite sign")
    assert not noted(plain, "opposite sign")


def test_exchanged_magnitude_and_phase_are_told(scan, files, read):
    rng = np.random.default_rng(0)
    air = rng.uniform(-np.pi, np.pi, scan.phase.shape)
    phase = np.where(scan.mask[..., None], scan.phase, air)
    twelve_bits = files.write("twelve", np.floor((phase / np.pi + 1) * 2047.9))
    read(phase=twelve_bits)
    bright = files.write("bright", scan.magnitude * 4095 / scan.magnitude.max())  # as wide as twelve bits
    with pytest.raises(DataError, match=r"twelve\.nii\.gz: .*were magnitude and phase exchanged"):
        read(phase=bright, magnitude=twelve_bits)
    read(phase=twelve_bits, magnitude=bright)
    with pytest.raises(DataError, match="exchanged"):
        read(phase=files.magnitudes, magnitude=files.phase)
    with pytest.raises(DataError, match="if it is the magnitude, exchange the two"):
        read(phase=files.magnitudes, magnitude=files.write("other", scan.magnitude))


# ---- complex images ----


def test_complex_images_give_both(scan, files, read):
    import nibabel

    signal = (scan.magnitude * np.exp(1j * scan.phase)).astype(np.complex64)
    nibabel.save(nibabel.Nifti1Image(signal, scan.affine), files.folder / "complex.nii.gz")
    expected, _ = read()
    for given in ({"magnitude": None}, {"magnitude": files.folder / "complex.nii.gz"}, {}):
        case, error = read(phase=files.folder / "complex.nii.gz", **given)
        assert error < 2e-4
        np.testing.assert_allclose(case.problem.magnitude, expected.problem.magnitude, rtol=1e-4)
    real, imaginary = files.write("re", signal.real.astype("f4")), files.write("im", signal.imag.astype("f4"))
    case, error = read(phase=None, magnitude=None, real=real, imaginary=imaginary)
    assert error < 2e-4
    with pytest.raises(DataError, match="has both signs"):
        read(phase=None, magnitude=None, real=files.magnitudes, imaginary=imaginary)


# ---- units of a field map ----


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("ppb", 1000.0), ("rad/s", 2 * np.pi * hz_per_ppm(3.0)), ("Hz", hz_per_ppm(3.0)), ("ppm", 1.0)],
)
def test_every_unit_of_a_field_gives_the_same_field(scan, files, unit, factor):
    case = case_from_files(
        field=files.write("unit", factor * scan.field_ppm), field_unit=unit, mask=files.mask, b0_tesla=3.0
    )
    np.testing.assert_allclose(case.problem.field_ppm, scan.field_ppm, rtol=1e-5, atol=1e-9)


def test_a_field_six_times_too_large_is_warned_of(scan, files):
    """rad/s given as Hz passes the wide limits; a local field of that size is in no head."""
    rng = np.random.default_rng(0)
    field = 0.006 * rng.standard_normal(scan.mask.shape).astype(np.float32)
    right = case_from_files(field=files.write("right", field), mask=files.mask)
    assert not noted(right, "warning")
    wrong = case_from_files(field=files.write("wrong", 2 * np.pi * field), mask=files.mask)
    assert noted(wrong, "warning", "wrong.nii.gz", "check unit")
    smooth = case_from_files(field=files.write("smooth", 0.3 * scan.affine[0, 0] * scan.field_ppm), mask=files.mask)
    assert not noted(smooth, "warning")


@pytest.mark.parametrize(("unit", "per_rad"), [("rad", 1.0), ("Hz", 1 / (2 * np.pi * 0.02)), ("rad/s", 50.0)])
def test_a_wrapped_field_is_warned_of(scan, files, unit, per_rad):
    """Phase at one echo time that nobody unwrapped: most methods make a wrong map of it."""
    times = (0.02,) if unit == "rad" else ()
    right = (4.5 * scan.field_ppm / np.abs(scan.field_ppm[scan.mask]).max()).astype(np.float32)
    for name, phase in (("right", right), ("wrong", wrapped(right))):
        given = files.write(name, (per_rad * phase).astype(np.float32))
        case = case_from_files(field=given, field_unit=unit, mask=files.mask, b0_tesla=3.0, echo_times_s=times)
        assert noted(case, "warning", "looks wrapped", "wrong.nii.gz", "--phase") == (name == "wrong")


# ---- thin slabs ----


def test_few_slices_are_refused_and_thin_slabs_warned_of(scan, files):
    def slab(count):
        inside = np.zeros_like(scan.mask)
        inside[..., 6 : 6 + count] = scan.mask[..., 6 : 6 + count]
        return case_from_files(field=files.field, mask=files.write(f"slab{count}", inside))

    for count in (1, 2, 3):
        with pytest.raises(DataError, match=rf"slab{count}\.nii\.gz: the mask has {count} slice\(s\) along axis 3"):
            slab(count)
    assert noted(slab(4), "warning", "slab of 4 slices")
    assert not noted(slab(9), "warning")
    block = np.zeros_like(scan.mask)
    block[8:14, 8:13, 6:11] = True  # thin along every axis, which is said once
    case = case_from_files(field=files.field, mask=files.write("block", block))
    assert ["only 6×5×5 voxels wide" in note for note in case.notes if note.startswith("warning: the mask")] == [True]


# ---- masks ----


def test_without_a_mask_one_is_made(scan, files, read):
    case, error = read(mask=None)
    inside = np.count_nonzero(case.problem.mask & scan.mask)
    assert 2 * inside / (np.count_nonzero(case.problem.mask) + np.count_nonzero(scan.mask)) > 0.98
    assert error < 2e-3
    assert case.made_mask
    assert noted(case, "mask: none given", "--mask")


def test_without_a_mask_a_field_is_taken_where_it_is_not_zero(scan, files):
    field = np.where(scan.mask, scan.field_ppm, 0)
    case = case_from_files(field=files.write("masked", field))
    np.testing.assert_array_equal(case.problem.mask, field != 0)
    magnitude = files.write("sum", np.linalg.norm(scan.magnitude, axis=-1))
    case = case_from_files(field=files.write("whole", scan.field_ppm + 1), magnitude=magnitude)
    assert np.mean(case.problem.mask == scan.mask) > 0.98
    with pytest.raises(DataError, match=r"whole\.nii\.gz: .*--mask"):
        case_from_files(field=files.folder / "whole.nii.gz")


def test_options_of_data_sets_say_the_same(scan, tmp_path):
    """And contradict the general ones aloud."""
    folder = tmp_path / "set"
    phase = wrapped(-(scan.phase + SIGNS * 0.4))
    for name, image in (("Phase", phase), ("Magnitude", scan.magnitude), ("MaskBrainExtracted", scan.mask)):
        save_image(folder / f"{name}.nii.gz", image, scan.affine)
    case = load_case(f"rc2:{folder}?phase_sign=negative&bipolar=yes")
    mask = case.problem.mask
    assert np.corrcoef(case.problem.field_ppm[mask], scan.field_ppm[mask])[0, 1] > 0.99
    assert case.field_estimate["bipolar"]
    other = load_case(f"rc2:{folder}", phase_sign="negative", bipolar="auto")
    np.testing.assert_array_equal(other.problem.field_ppm, case.problem.field_ppm)
    with pytest.raises(ParameterError, match="phase_sign=positive contradicts 'negative'"):
        load_case(f"rc2:{folder}?phase_sign=positive", phase_sign="negative")
    with pytest.raises(ParameterError, match="unknown value 'maybe'"):
        load_case(f"rc2:{folder}?bipolar=maybe")
    with pytest.raises(ParameterError, match=r"phantom.*--phase-sign"):
        load_case("phantom:sim2?size=reduced", phase_sign="negative")


def test_a_small_object_is_not_called_a_slab(scan, files):
    small = np.zeros_like(scan.mask)
    small[8:14, 8:15, 8:14] = scan.mask[8:14, 8:15, 8:14]
    case = case_from_files(field=files.field, mask=files.write("small", small), b0_tesla=scan.b0)
    (note,) = [note for note in case.notes if note.startswith("warning: the mask")]
    assert "only 6×7×6 voxels wide" in note
    assert "slab" not in note
