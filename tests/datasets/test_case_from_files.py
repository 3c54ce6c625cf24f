import json

import numpy as np
import pytest

from qsm_recon.datasets import case_from_files
from qsm_recon.errors import DataError
from qsm_recon.units import ppm_to_hz, ppm_to_rad, rad_per_ppm


def inside(case, image):
    return image[case.problem.mask]


def test_field_in_ppm_with_everything_around_it(scan, files):
    case = case_from_files(
        field=files.field, mask=files.mask, magnitude=files.magnitude, weight=files.weight, truth=files.truth,
        labels=files.labels, evaluation_mask=files.mask, calcification_moment=-7.5, b0_tesla=3, echo_times_s=[0.025],
    )  # fmt: skip
    problem = case.problem
    np.testing.assert_array_equal(problem.field_ppm, scan.field_ppm)
    np.testing.assert_array_equal(problem.mask, scan.mask)
    np.testing.assert_array_equal(problem.magnitude, scan.magnitude[..., 0])
    np.testing.assert_array_equal(problem.weight, scan.magnitude[..., 1])
    np.testing.assert_array_equal(case.truth.susceptibility_ppm, scan.chi)
    np.testing.assert_array_equal(case.truth.labels, scan.labels)
    np.testing.assert_array_equal(case.evaluation_mask, scan.mask)
    np.testing.assert_allclose(case.affine, scan.affine)
    assert case.truth.calcification_moment == -7.5
    assert problem.grid.voxel_size_mm == pytest.approx((1.5, 1.0, 2.0))
    assert problem.phase_scale == pytest.approx(rad_per_ppm(3, 0.025))
    assert case.name == "field"
    for role in ("field", "mask", "magnitude", "weight", "truth", "labels", "evaluation_mask"):
        assert case.sources[role].endswith(".nii.gz")


@pytest.mark.parametrize(
    ("unit", "convert"), [("Hz", lambda f: ppm_to_hz(f, 3.0)), ("rad", lambda f: ppm_to_rad(f, 3.0, 0.02))]
)
def test_units_are_converted_and_noted(scan, files, unit, convert):
    path = files.write("other_unit", convert(scan.field_ppm))
    case = case_from_files(field=path, field_unit=unit, mask=files.mask, b0_tesla=3.0, echo_times_s=(0.02,))
    np.testing.assert_allclose(case.problem.field_ppm, scan.field_ppm, rtol=1e-5, atol=1e-9)
    assert any(f"from {unit} to ppm at 3 T" in note for note in case.notes)


@pytest.mark.parametrize(
    ("stated", "passes"), [("Hz", True), ("hz", True), ("arbitrary", True), (7, True), ("rad/s", False), ("T", False)]
)
def test_a_field_map_whose_sidecar_says_another_unit_is_refused(scan, files, stated, passes):
    """A factor of 2π is well within what the range of a head's field allows."""
    path = files.write("stated_unit", ppm_to_hz(scan.field_ppm, scan.b0))
    path.with_name("stated_unit.json").write_text(json.dumps({"Units": stated}))
    settings = {"field": path, "field_unit": "Hz", "mask": files.mask, "b0_tesla": scan.b0}
    if passes:
        np.testing.assert_allclose(case_from_files(**settings).problem.field_ppm, scan.field_ppm, rtol=1e-5, atol=1e-9)
    else:
        with pytest.raises(DataError, match=rf"stated_unit.*says that it is in {stated}, but Hz is given; correct"):
            case_from_files(**settings)


@pytest.mark.parametrize("method", ["fit", "difference"])
def test_field_from_one_4d_file_of_magnitude_and_phase(scan, files, method):
    case = case_from_files(
        phase=files.phase, magnitude=files.magnitudes, mask=files.mask, b0_tesla=scan.b0, echo_times_s=scan.times,
        field_estimate=method,
    )  # fmt: skip
    problem = case.problem
    np.testing.assert_array_equal(problem.mask, scan.mask)
    np.testing.assert_allclose(inside(case, problem.field_ppm), inside(case, scan.field_ppm), atol=2e-4)
    np.testing.assert_allclose(problem.magnitude, np.linalg.norm(scan.magnitude, axis=-1), rtol=1e-5)
    np.testing.assert_allclose(problem.echoes, scan.magnitude * np.exp(1j * scan.phase), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(inside(case, problem.r2star_per_s), 35, rtol=0.02)
    assert inside(case, problem.field_noise_ppm).min() > 0
    assert any(f"4 echo(es), method {method}" in note for note in case.notes)


def test_one_file_per_echo_equals_the_4d_file(scan, files):
    common = {"mask": files.mask, "b0_tesla": scan.b0, "echo_times_s": scan.times}
    phases = [files.write(f"echo-{i + 1}_phase", scan.phase[..., i]) for i in range(4)]
    magnitudes = [files.write(f"echo-{i + 1}_mag", scan.magnitude[..., i]) for i in range(4)]
    apart = case_from_files(phase=phases, magnitude=magnitudes, **common)
    joined = case_from_files(phase=files.phase, magnitude=files.magnitudes, **common)
    np.testing.assert_array_equal(apart.problem.field_ppm, joined.problem.field_ppm)


def test_phase_in_scanner_units_is_converted_and_noted(scan, files):
    common = {"magnitude": files.magnitudes, "mask": files.mask, "b0_tesla": scan.b0, "echo_times_s": scan.times}
    scaled = files.write("scaled", np.rint(scan.phase / np.pi * 4095).astype(np.int16))
    case = case_from_files(phase=scaled, **common)
    reference = case_from_files(phase=files.phase, **common)
    difference = inside(case, case.problem.field_ppm - reference.problem.field_ppm)
    assert np.abs(difference).max() < 1e-4
    assert any("-4096 to 4095" in note for note in case.notes)


def test_direction_comes_from_the_affine_unless_given(scan, files):
    angle = np.radians(30)
    rotation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    oblique = scan.affine.copy()
    oblique[:3, :3] = rotation @ scan.affine[:3, :3]
    field, mask = files.write("oblique", scan.field_ppm, oblique), files.write("oblique_mask", scan.mask, oblique)
    derived = case_from_files(field=field, mask=mask).problem.grid.b0_direction
    assert derived == pytest.approx((0, np.sin(angle), np.cos(angle)), abs=1e-6)
    given = case_from_files(field=field, mask=mask, b0_direction=(0, 3, 0))
    assert given.problem.grid.b0_direction == (0, 1, 0)
    assert any("as given" in note for note in given.notes)


def test_values_outside_the_mask_that_are_not_finite_are_zeroed_and_counted(scan, files):
    field, phase = scan.field_ppm.copy(), scan.phase.copy()
    field[~scan.mask] = np.nan
    phase[0, 0, :2, 1] = np.inf
    case = case_from_files(field=files.write("holes", field), mask=files.mask)
    assert not case.problem.field_ppm[~scan.mask].any()
    assert any("holes" in note and f"{(~scan.mask).sum()} values outside" in note for note in case.notes)
    case = case_from_files(
        phase=files.write("holed_phase", phase), magnitude=files.magnitudes, mask=files.mask, b0_tesla=7,
        echo_times_s=scan.times,
    )  # fmt: skip
    assert any("holed_phase" in note and "(echo 2): 2 values" in note for note in case.notes)


def test_echoes_beside_a_field_map_are_combined_when_their_times_are_given(scan, files):
    case = case_from_files(
        field=files.field, mask=files.mask, magnitude=files.magnitudes, b0_tesla=7, echo_times_s=scan.times
    )
    np.testing.assert_allclose(case.problem.magnitude, np.linalg.norm(scan.magnitude, axis=-1), rtol=1e-5)
    assert case.problem.echoes is None


def test_voxels_without_signal_leave_the_mask(scan, files):
    magnitude = scan.magnitude.copy()
    magnitude[10, 11, 8:10] = 0
    case = case_from_files(
        phase=files.phase, magnitude=files.write("dropout", magnitude), mask=files.mask, b0_tesla=7,
        echo_times_s=scan.times,
    )  # fmt: skip
    assert case.problem.mask.sum() == scan.mask.sum() - 2
    assert any(note.startswith("mask: 2 voxels") for note in case.notes)


def test_truth_can_be_added_later(scan, files):
    case = case_from_files(field=files.field, mask=files.mask)
    assert case.truth is None
    np.testing.assert_array_equal(case.evaluation_mask, scan.mask)
    with_truth = case.with_truth(files.truth, labels=files.labels)
    np.testing.assert_array_equal(with_truth.truth.susceptibility_ppm, scan.chi)
    assert with_truth.sources["labels"].endswith("labels.nii.gz")
    assert "truth" not in case.sources


def test_an_unlikely_range_can_be_insisted_on(scan, files):
    strange = files.write("strange", 1000 * scan.field_ppm)
    case = case_from_files(field=strange, mask=files.mask, accept_range=True)
    np.testing.assert_allclose(case.problem.field_ppm, 1000 * scan.field_ppm)


def test_a_constant_offset_does_not_make_a_range_impossible(scan, files):
    case = case_from_files(field=files.write("offset", scan.field_ppm + 3), mask=files.mask)
    assert case.problem.field_ppm.mean() > 2.9


def test_a_phase_with_open_ended_fringe_lines_is_warned_of(scan, files):
    """Of one echo the map was seven times as wrong as large, without a word; differences of echoes are free of it."""
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in scan.mask.shape], indexing="ij")
    twist = np.arctan2(y - 0.3, x - 0.25) - np.arctan2(y + 0.4, x + 0.35)
    for name, further, count in (("twisted", twist, 1), ("several", twist, 4), ("usual", 0 * x, 1)):
        phase = np.angle(np.exp(1j * (scan.phase + further[..., None])))[..., :count].astype(np.float32)
        case = case_from_files(
            phase=files.write(name, phase), magnitude=files.write("some", scan.magnitude[..., :count]),
            mask=files.mask, b0_tesla=scan.b0, echo_times_s=scan.times[:count],
        )  # fmt: skip
        assert any("warning" in note and "open ends" in note for note in case.notes) == (name == "twisted")
