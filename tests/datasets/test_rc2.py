import numpy as np
import pytest
from scipy.io import savemat

from qsm_recon.datasets import load_case
from qsm_recon.datasets.phantom_case import phantom_case
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.io import save_image
from qsm_recon.units import ppm_to_hz


@pytest.fixture
def write(scan, tmp_path):
    """Write a case of the challenge; returns its folder."""

    def write(name="Sim2Snr1", *, ground_truth=True, mask="MaskBrainExtracted", suffix=".nii.gz", **changes):
        folder = tmp_path / name
        images = {
            "Magnitude": scan.magnitude,
            "Phase": scan.phase,
            "Frequency": ppm_to_hz(scan.field_ppm, scan.b0) + np.float32(0.5),  # tells it from the fit
            mask: scan.mask,
            **changes,
        }
        if ground_truth:
            images |= {"GT/Chi": scan.chi, "GT/Segmentation": scan.labels}
        for stem, image in images.items():
            save_image(folder / f"{stem}{suffix}", image, scan.affine)
        if ground_truth:
            write_parameters(folder)
        return folder

    def write_parameters(folder, b0=scan.b0, times=scan.times, direction=(0, 0, 1)):
        structures = {
            "SimParams": {"B0": float(b0), "B0_dir": np.array(direction, float), "Res": np.array([1.5, 1, 2])},
            "SeqParams": {"TE": np.array(times), "TR": 0.05, "FlipAngle": 15.0},
        }
        savemat(folder / "GT" / "SimulationParameters.mat", structures)

    write.parameters = write_parameters
    return write


@pytest.mark.parametrize("field", ["fit", "difference"])
def test_second_stage_from_the_echoes(scan, write, field):
    folder = write()
    case = load_case(f"rc2:{folder}?field={field}")
    mask = case.problem.mask
    np.testing.assert_array_equal(mask, scan.mask)
    np.testing.assert_allclose(case.problem.field_ppm[mask], scan.field_ppm[mask], atol=2e-4)
    np.testing.assert_array_equal(case.truth.susceptibility_ppm, scan.chi)
    np.testing.assert_array_equal(case.truth.labels, scan.labels)
    assert case.problem.echoes.shape[3] == 4
    assert case.name == "Sim2Snr1"
    assert case.sources["simulation"].endswith("SimulationParameters.mat")


def test_the_provided_map(scan, write):
    case = load_case(f"rc2:{write()}?field=frequency")
    np.testing.assert_allclose(case.problem.field_ppm, scan.field_ppm + 0.5 / (42.576 * 7), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(case.problem.magnitude, np.linalg.norm(scan.magnitude, axis=-1), rtol=1e-5)
    assert case.problem.echoes is None
    assert case.problem.echo_times_s == scan.times


def test_the_parameter_file_rules(scan, write):
    folder = write()
    write.parameters(folder, b0=3, times=[t / 2 for t in scan.times], direction=(0, 1, 0))
    case = load_case(f"rc2:{folder}")
    assert case.problem.b0_tesla == 3
    assert case.problem.echo_times_s == pytest.approx([t / 2 for t in scan.times])
    assert case.problem.grid.b0_direction == (0, 1, 0)
    # the same phase at half the echo times and 3 T
    mask = case.problem.mask
    np.testing.assert_allclose(case.problem.field_ppm[mask], 14 / 3 * scan.field_ppm[mask], atol=2e-3)
    assert load_case(f"rc2:{folder}", b0_direction=(1, 0, 0)).problem.grid.b0_direction == (1, 0, 0)


def test_first_stage_has_no_truth_and_published_parameters(scan, write, tmp_path):
    write("Sim1", ground_truth=False, mask="Brain", suffix=".nii")
    write("Sim2", ground_truth=False, mask="Brain", suffix=".nii")
    case = load_case(f"rc2:{tmp_path}?case=Sim1", field_estimate="difference")
    assert case.name == "Sim1"
    assert case.truth is None
    assert case.problem.b0_tesla == 7
    assert case.problem.echo_times_s == (0.004, 0.012, 0.020, 0.028)
    assert any("publication" in note for note in case.notes)
    np.testing.assert_array_equal(case.problem.mask, scan.mask)
    with pytest.raises(DataError, match="GT/Chi"):
        load_case(f"rc2:{tmp_path}?case=Sim1&moment=-20")


def test_cases_are_found_one_level_deeper(write, tmp_path):
    write("SNR1/Sim1Snr1")
    write("SNR1/Sim2Snr1")
    assert load_case(f"rc2:{tmp_path}?case=sim2snr1&field=frequency").name == "Sim2Snr1"
    with pytest.raises(ParameterError, match=r"holds Sim1Snr1, Sim2Snr1; choose one with \?case="):
        load_case(f"rc2:{tmp_path}")
    with pytest.raises(ParameterError, match="no 'Sim2Snr2'"):
        load_case(f"rc2:{tmp_path}?case=Sim2Snr2")
    with pytest.raises(ParameterError, match="leave the option out"):
        load_case(f"rc2:{tmp_path / 'SNR1' / 'Sim1Snr1'}?case=Sim2Snr1")


def test_the_only_case_of_a_folder_needs_no_name(write, tmp_path):
    write("Sim1Snr2")
    assert load_case(f"rc2:{tmp_path}?field=frequency").name == "Sim1Snr2"


def test_evaluation_mask_and_moment(scan, write):
    smaller = scan.mask.copy()
    smaller[:10] = False
    folder = write(**{"GT/MaskEroded": smaller})
    case = load_case(f"rc2:{folder}?field=frequency&evaluation_mask=GT/MaskEroded.nii.gz&moment=-49.8")
    np.testing.assert_array_equal(case.evaluation_mask, smaller)
    assert case.truth.calcification_moment == -49.8


@pytest.mark.parametrize(
    ("remove", "words"),
    [
        ("Magnitude.nii.gz", ["no magnitude", "Magnitude.nii.gz"]),
        ("MaskBrainExtracted.nii.gz", ["no mask", "Brain.nii.gz"]),
        ("Phase.nii.gz", ["no phase", "Phase.nii.gz"]),
    ],
)
def test_missing_files(write, remove, words):
    folder = write()
    (folder / remove).unlink()
    with pytest.raises(DataError) as caught:
        load_case(f"rc2:{folder}?field=fit")
    for word in words:
        assert word in str(caught.value)


def test_without_phase_the_provided_map_is_the_default(write):
    folder = write()
    (folder / "Phase.nii.gz").unlink()
    assert load_case(f"rc2:{folder}").sources["field"].endswith("Frequency.nii.gz")


def test_phase_of_the_wrong_sign_is_refused(scan, write):
    folder = write(Phase=-scan.phase)
    with pytest.raises(DataError, match=r"Frequency.*wrong sign"):
        load_case(f"rc2:{folder}")


def test_bad_parameter_file(write):
    folder = write()
    path = folder / "GT" / "SimulationParameters.mat"
    savemat(path, {"SimParams": {"B0": 7.0}, "SeqParams": {"TE": np.array([0.004])}})
    with pytest.raises(DataError, match=r"SimulationParameters.mat: no SimParams.B0_dir"):
        load_case(f"rc2:{folder}")
    path.write_text("not a file of MATLAB, though long enough to have a header" * 9)
    with pytest.raises(DataError, match=r"SimulationParameters.mat: not a readable MATLAB file"):
        load_case(f"rc2:{folder}")
    write.parameters(folder, times=(4, 12, 20, 28))
    with pytest.raises(DataError, match="milliseconds"):
        load_case(f"rc2:{folder}")


def test_contradicting_wishes(write):
    with pytest.raises(ParameterError, match="contradicts"):
        load_case(f"rc2:{write()}?field=frequency", field_estimate="fit")


def test_empty_folder(tmp_path):
    with pytest.raises(DataError, match="no data of the challenge"):
        load_case(f"rc2:{tmp_path}")


def test_the_phantom_in_the_layout_of_the_challenge(phantom, write, tmp_path):
    folder = tmp_path / "Sim2Snr2"
    images = {
        "Magnitude": np.abs(phantom.echoes),
        "Phase": np.angle(phantom.echoes),
        "Frequency": ppm_to_hz(phantom.field_ppm, phantom.b0_tesla),
        "MaskBrainExtracted": phantom.mask,
        "GT/Chi": phantom.susceptibility_ppm,
        "GT/Segmentation": phantom.labels,
    }
    for stem, image in images.items():
        save_image(folder / f"{stem}.nii.gz", image, phantom.affine)
    write.parameters(folder)
    for field in ("fit", "difference"):
        read, direct = load_case(f"rc2:{tmp_path}?field={field}"), phantom_case(phantom, field)
        np.testing.assert_array_equal(read.problem.mask, direct.problem.mask)
        np.testing.assert_allclose(read.problem.field_ppm, direct.problem.field_ppm, atol=1e-6)
        np.testing.assert_array_equal(read.truth.susceptibility_ppm, direct.truth.susceptibility_ppm)
        np.testing.assert_array_equal(read.truth.labels, direct.truth.labels)
        assert read.problem.grid == direct.problem.grid
        assert read.problem.phase_scale == direct.problem.phase_scale
    provided = load_case(f"rc2:{tmp_path}?field=frequency").problem
    np.testing.assert_allclose(provided.field_ppm, phantom_case(phantom, "true").problem.field_ppm, atol=1e-7)


def test_the_evaluation_mask_cannot_lie_outside(scan, write, tmp_path):
    folder = write()
    save_image(tmp_path / "other.nii.gz", scan.mask, scan.affine)
    for path in ("../other.nii.gz", f"{tmp_path}/other.nii.gz"):
        with pytest.raises(ParameterError, match=r"data set option evaluation_mask: .* leads out of"):
            load_case(f"rc2:{folder}?evaluation_mask={path}")
