import json

import numpy as np
import pytest

from qsm_recon.datasets import load_case
from qsm_recon.datasets.bids import find_masks
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.io import save_image


@pytest.fixture
def write(scan, tmp_path):
    """Write one acquisition in BIDS; returns the folder of its images."""

    def write(entities="sub-01", *, mask=True, change=None, sidecars=True):
        folder = tmp_path.joinpath(*[e for e in entities.split("_") if e[:4] in ("sub-", "ses-")], "anat")
        for echo, time in enumerate(scan.times, start=1):
            for part, images in (("mag", scan.magnitude), ("phase", scan.phase)):
                stem = folder / f"{entities}_echo-{echo}_part-{part}_MEGRE"
                save_image(f"{stem}.nii.gz", images[..., echo - 1], scan.affine)
                fields = {"EchoTime": time, "MagneticFieldStrength": scan.b0, **(change or {})}
                if sidecars:
                    (folder / f"{stem.name}.json").write_text(
                        json.dumps({key: value for key, value in fields.items() if value is not None})
                    )
        if mask:
            below = tmp_path / "derivatives" / "tool" / folder.relative_to(tmp_path)
            save_image(below / f"{entities}_mask.nii.gz", scan.mask, scan.affine)
        return folder

    return write


def check(case, scan):
    mask = case.problem.mask
    np.testing.assert_array_equal(mask, scan.mask)
    np.testing.assert_allclose(case.problem.field_ppm[mask], scan.field_ppm[mask], atol=2e-4)
    assert case.problem.b0_tesla == scan.b0
    assert case.problem.echo_times_s == scan.times


@pytest.mark.parametrize("entities", ["sub-01", "sub-01_ses-a", "sub-01_ses-a_acq-fine_run-2"])
def test_round_trip(scan, write, tmp_path, entities):
    write(entities)
    case = load_case(f"bids:{tmp_path}")
    check(case, scan)
    assert case.name == entities
    assert case.problem.grid.b0_direction == (0, 0, 1)
    assert case.sources["mask"].endswith(f"{entities}_mask.nii.gz")


def test_the_mask_of_a_lesion_is_not_taken_for_that_of_the_brain(scan, write, tmp_path):
    """Alone under derivatives it was the mask of the reconstruction."""
    write("sub-01", mask=False)
    lesion = np.zeros_like(scan.mask)
    lesion[8:13, 8:13, 7:12] = True
    below = tmp_path / "derivatives" / "lesions" / "sub-01" / "anat"
    save_image(below / "sub-01_label-lesion_mask.nii.gz", lesion, scan.affine)
    case = load_case(f"bids:{tmp_path}")
    assert case.made_mask
    assert case.problem.mask.sum() > 0.9 * scan.mask.sum()
    save_image(below / "sub-01_label-brain_mask.nii.gz", scan.mask, scan.affine)
    check(load_case(f"bids:{tmp_path}"), scan)
    asked = load_case(f"bids:{tmp_path}?mask=derivatives/lesions/sub-01/anat/sub-01_label-lesion_mask.nii.gz")
    np.testing.assert_array_equal(asked.problem.mask, lesion)


@pytest.mark.parametrize(("desc", "taken"), [("lesion", False), ("WMH", False), ("gm", False), ("gmbrain", True)])
def test_a_mask_described_as_that_of_a_part_is_not_taken_for_the_brains(tmp_path, desc, taken):
    """A lone ``desc-lesion`` made a map of the lesion alone."""
    below = tmp_path / "derivatives" / "masks"
    below.mkdir(parents=True)
    (below / f"sub-01_desc-{desc}_mask.nii.gz").touch()
    assert [mask.entities["desc"] for mask in find_masks(tmp_path)] == [desc] * taken


def test_a_subject_with_images_of_another_suffix_is_told_of_that(write, tmp_path):
    write("sub-01")
    for path in write("sub-02").iterdir():
        path.rename(path.with_name(path.name.replace("_MEGRE", "_T2starw")))
    with pytest.raises(
        ParameterError, match=r"no sub-02 with images \*_MEGRE in .*there are \*_T2starw of it \(\?suffix=\)"
    ):
        load_case(f"bids:{tmp_path}?subject=02")
    assert load_case(f"bids:{tmp_path}?subject=02&suffix=T2starw").name == "sub-02"


def test_selectors(scan, write, tmp_path):
    for entities in ("sub-01_ses-a_run-1", "sub-01_ses-a_run-2", "sub-01_ses-b_run-1", "sub-02_ses-a_run-1"):
        write(entities)
    check(load_case(f"bids:{tmp_path}?subject=02"), scan)
    case = load_case(f"bids:{tmp_path}?subject=sub-01&session=a&run=2&field=difference")
    assert case.name == "sub-01_ses-a_run-2"
    with pytest.raises(ParameterError, match=r"4 acquisitions; choose one with \?subject= \(01, 02\) and \?session="):
        load_case(f"bids:{tmp_path}")
    with pytest.raises(ParameterError, match=r"2 acquisitions; choose one with \?run= \(1, 2\)$"):
        load_case(f"bids:{tmp_path}?subject=01&session=a")
    with pytest.raises(ParameterError, match=r"no sub-03 with images \*_MEGRE in .*did you mean '0"):
        load_case(f"bids:{tmp_path}?subject=03")


def test_mask_truth_and_labels_by_path(scan, write, tmp_path):
    write(mask=False)
    assert load_case(f"bids:{tmp_path}").sources["mask"].startswith("made from phase quality")
    for name, image in (("brain", scan.mask), ("chi", scan.chi), ("seg", scan.labels)):
        save_image(tmp_path / "extra" / f"{name}.nii.gz", image, scan.affine)
    options = "mask=extra/brain.nii.gz&truth=extra/chi.nii.gz&labels=extra/seg.nii.gz"
    case = load_case(f"bids:{tmp_path}?{options}")
    check(case, scan)
    np.testing.assert_array_equal(case.truth.susceptibility_ppm, scan.chi)
    np.testing.assert_array_equal(case.truth.labels, scan.labels)
    absolute = load_case(f"bids:{tmp_path}?mask={tmp_path}/extra/brain.nii.gz")
    np.testing.assert_array_equal(absolute.problem.mask, scan.mask)


def test_two_masks_are_ambiguous(scan, write, tmp_path):
    write()
    save_image(tmp_path / "derivatives" / "other" / "sub-01" / "sub-01_mask.nii.gz", scan.mask, scan.affine)
    with pytest.raises(DataError, match=r"one mask is needed, found .*tool.*\?mask=|found .*other.*\?mask="):
        load_case(f"bids:{tmp_path}")


def test_json_fields_are_inherited(scan, write, tmp_path):
    folder = write(sidecars=False)
    (tmp_path / "MEGRE.json").write_text(json.dumps({"MagneticFieldStrength": scan.b0, "EchoTime": 0.5}))
    for echo, time in enumerate(scan.times, start=1):
        (folder.parent / f"sub-01_echo-{echo}_MEGRE.json").write_text(json.dumps({"EchoTime": time}))
    check(load_case(f"bids:{tmp_path}"), scan)


def test_a_number_in_the_name_of_the_acquisition_is_not_that_of_the_echo(scan, write, tmp_path):
    """With echo times from higher up, which say nothing of the order of the files, such a scan was refused."""
    folder = write("sub-01_acq-multiecho4", sidecars=False)
    for echo, time in enumerate(scan.times, start=1):
        fields = {"EchoTime": time, "MagneticFieldStrength": scan.b0}
        (folder.parent / f"sub-01_echo-{echo}_MEGRE.json").write_text(json.dumps(fields))
    check(load_case(f"bids:{tmp_path}"), scan)


def test_hidden_files_are_no_images(scan, write, tmp_path):
    """macOS keeps one beside every file on disks of other systems: they were a second acquisition."""
    for path in list(write().iterdir()):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")
    check(load_case(f"bids:{tmp_path}"), scan)


def test_units_of_the_phase_are_trusted(scan, write, tmp_path):
    folder = write(change={"Units": "rad"})
    for echo in range(1, 5):  # unwrapped beyond one turn, which could not be recognised
        path = folder / f"sub-01_echo-{echo}_part-phase_MEGRE.nii.gz"
        save_image(path, scan.phase[..., echo - 1] + 2 * np.pi, scan.affine)
    check(load_case(f"bids:{tmp_path}"), scan)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"EchoTime": None}, ["echo-1_part-phase_MEGRE.json", "has no EchoTime", "seconds"]),
        ({"MagneticFieldStrength": None}, ["phase_MEGRE.json", "has no MagneticFieldStrength", "tesla"]),
        ({"MagneticFieldStrength": "7T"}, ["phase_MEGRE.json", "'7T'", "expected a number"]),
        ({"EchoTime": 4}, ["echo-1_part-phase_MEGRE", "EchoTime", "milliseconds"]),
        ({"EchoTime": 0.004}, ["echo-1_part-phase_MEGRE", "EchoTime", "do not increase"]),
    ],
)
def test_bad_json_fields(write, tmp_path, change, words):
    write(change=change)
    with pytest.raises(DataError) as caught:
        load_case(f"bids:{tmp_path}")
    for word in words:
        assert word in str(caught.value)


def test_missing_json_file(write, tmp_path):
    write(sidecars=False)
    with pytest.raises(DataError, match=r"_MEGRE.json: no such file, and none higher up gives"):
        load_case(f"bids:{tmp_path}")


def test_broken_json_file(write, tmp_path):
    folder = write()
    (folder / "sub-01_echo-2_part-phase_MEGRE.json").write_text("{")
    with pytest.raises(DataError, match=r"echo-2_part-phase_MEGRE.json: not a readable JSON"):
        load_case(f"bids:{tmp_path}")


def test_field_strength_that_differs(scan, write, tmp_path):
    folder = write()
    fields = {"EchoTime": scan.times[1], "MagneticFieldStrength": 3}
    (folder / "sub-01_echo-2_part-phase_MEGRE.json").write_text(json.dumps(fields))
    with pytest.raises(DataError, match=r"MagneticFieldStrength differs .*\[3.0, 7.0\]"):
        load_case(f"bids:{tmp_path}")


def test_magnitude_of_another_echo_time(scan, write, tmp_path):
    folder = write()
    fields = {"EchoTime": 0.013, "MagneticFieldStrength": scan.b0}
    (folder / "sub-01_echo-2_part-mag_MEGRE.json").write_text(json.dumps(fields))
    with pytest.raises(DataError, match=r"echo-2_part-mag_MEGRE.nii.gz: EchoTime 0.013 s differs from 0.012 s"):
        load_case(f"bids:{tmp_path}")


def test_missing_echo(write, tmp_path):
    folder = write()
    (folder / "sub-01_echo-3_part-mag_MEGRE.nii.gz").unlink()
    with pytest.raises(DataError, match=r"magnitude of echoes \[1, 2, 4\] but phase of echoes \[1, 2, 3, 4\]"):
        load_case(f"bids:{tmp_path}")


def renamed(folder, change):
    for path in sorted(folder.iterdir()):
        path.rename(folder / change(path.name))


def test_a_magnitude_without_the_part_entity(scan, write, tmp_path):
    renamed(write(), lambda name: name.replace("_part-mag", ""))
    check(load_case(f"bids:{tmp_path}"), scan)


def test_real_and_imaginary_parts(scan, write, tmp_path):
    folder = write()
    signal = scan.magnitude * np.exp(1j * scan.phase)
    for echo in range(1, 5):
        for old, new, image in (("mag", "real", signal.real), ("phase", "imag", signal.imag)):
            stem = f"sub-01_echo-{echo}_part-{{}}_MEGRE"
            (folder / f"{stem.format(old)}.nii.gz").unlink()
            (folder / f"{stem.format(old)}.json").rename(folder / f"{stem.format(new)}.json")
            save_image(folder / f"{stem.format(new)}.nii.gz", image[..., echo - 1].astype(np.float32), scan.affine)
    check(load_case(f"bids:{tmp_path}"), scan)
    (folder / "sub-01_echo-2_part-imag_MEGRE.nii.gz").unlink()
    with pytest.raises(DataError, match=r"real part of echoes \[1, 2, 3, 4\] but imaginary part of echoes \[1, 3, 4\]"):
        load_case(f"bids:{tmp_path}")


def test_padded_numbers_are_the_same_numbers(scan, write, tmp_path):
    """run-01 and echo-01, in images, sidecars, masks and options."""
    folder = write("sub-01_run-1", sidecars=False)
    renamed(folder, lambda name: name.replace("run-1", "run-01").replace("echo-", "echo-0"))
    for echo, time in enumerate(scan.times, start=1):
        fields = {"EchoTime": time, "MagneticFieldStrength": scan.b0}
        (folder / f"sub-01_run-1_echo-{echo}_MEGRE.json").write_text(json.dumps(fields))
    for run in ("1", "01", "run-01"):
        case = load_case(f"bids:{tmp_path}?run={run}")
        check(case, scan)
    assert case.name == "sub-01_run-01"


def test_json_with_a_byte_order_mark(scan, write, tmp_path):
    for path in write().glob("*.json"):
        path.write_text(path.read_text(), encoding="utf-8-sig")
    check(load_case(f"bids:{tmp_path}"), scan)


def test_a_phase_without_json_takes_echo_times_of_its_magnitude(scan, write, tmp_path):
    for path in write().glob("*part-phase*.json"):
        path.unlink()
    check(load_case(f"bids:{tmp_path}"), scan)


@pytest.mark.parametrize(("factor", "word"), [(180 / np.pi, "--phase-unit degrees"), (1 / np.pi, "half-turns")])
def test_units_that_contradict_the_values_are_refused(scan, write, tmp_path, factor, word):
    folder = write(change={"Units": "rad"})
    rng = np.random.default_rng(0)
    for echo in range(1, 5):
        phase = np.where(scan.mask, scan.phase[..., echo - 1], rng.uniform(-np.pi, np.pi, scan.mask.shape))
        save_image(folder / f"sub-01_echo-{echo}_part-phase_MEGRE.nii.gz", (factor * phase).astype("f4"), scan.affine)
    with pytest.raises(DataError, match=word):
        load_case(f"bids:{tmp_path}")


def test_options_for_the_echoes(scan, write, tmp_path):
    folder = write()
    for echo in range(1, 5):
        phase = -scan.phase[..., echo - 1] - 0.4 * (-1) ** echo
        path = folder / f"sub-01_echo-{echo}_part-phase_MEGRE.nii.gz"
        save_image(path, np.angle(np.exp(1j * phase)).astype(np.float32), scan.affine)
    case = load_case(f"bids:{tmp_path}?phase_sign=negative")
    check(case, scan)
    assert case.field_estimate["bipolar"]
    assert not load_case(f"bids:{tmp_path}?phase_sign=negative&bipolar=no").field_estimate["bipolar"]


def test_no_images(write, tmp_path):
    with pytest.raises(DataError, match="no images sub-"):
        load_case(f"bids:{tmp_path}")
    write()
    with pytest.raises(DataError, match=r"part-mag_GRE.nii.gz"):
        load_case(f"bids:{tmp_path}?suffix=GRE")


def test_reads_what_the_independent_simulator_writes(tmp_path):
    """A bar of 0.5 ppm simulated, written in BIDS and read back has the field of the dipole model."""
    qsm_forward = pytest.importorskip("qsm_forward")
    chi = np.zeros((24, 24, 24), np.float32)
    chi[8:14, 10:14, 9:15] = 0.5
    ones = np.ones_like(chi)
    head = {"chi": chi, "mask": ones, "M0": ones, "R1": ones, "R2star": 10 * ones, "seg": ones}
    for name, image in head.items():
        save_image(tmp_path / "head" / f"{name}.nii.gz", image, np.eye(4))
    tissue = qsm_forward.TissueParams(str(tmp_path / "head"), **{name: f"{name}.nii.gz" for name in head})
    times = np.array([0.004, 0.010, 0.016])
    recon = qsm_forward.ReconParams(
        subject="1", TEs=times, B0=3, voxel_size=np.ones(3), random_seed=None, generate_phase_offset=False,
        generate_shim_field=False,
    )  # fmt: skip
    qsm_forward.generate_bids(tissue, recon, str(tmp_path / "bids"))
    case = load_case(f"bids:{tmp_path / 'bids'}", phase_unit="rad")  # less than a turn, and no Units in its JSON
    expected = qsm_forward.generate_field(chi, voxel_size=[1, 1, 1], B0_dir=[0, 0, 1])
    assert case.problem.echo_times_s == pytest.approx(times)
    assert case.problem.b0_tesla == 3
    assert np.corrcoef(case.problem.field_ppm.ravel(), expected.ravel())[0, 1] > 0.999
    assert case.problem.field_ppm.max() == pytest.approx(expected.max(), rel=0.02)


@pytest.mark.parametrize("option", ["mask", "truth", "labels"])
def test_paths_cannot_leave_the_data_set(option, scan, write, tmp_path):
    write()
    study = tmp_path / "study"
    study.mkdir()
    for folder in ("sub-01", "derivatives"):
        (tmp_path / folder).rename(study / folder)
    save_image(tmp_path / "brain.nii.gz", scan.mask, scan.affine)
    save_image(tmp_path / "study2" / "brain.nii.gz", scan.mask, scan.affine)
    away = ("../brain.nii.gz", "sub-01/../../brain.nii.gz", f"{tmp_path}/brain.nii.gz", f"{study}2/brain.nii.gz")
    for path in away:
        with pytest.raises(ParameterError, match=f"data set option {option}: .* leads out of"):
            load_case(f"bids:{study}?{option}={path}")


def test_a_link_inside_the_data_set_is_followed(scan, write, tmp_path):
    """Data managers keep the files of a data set as links."""
    write("sub-01", mask=False)
    save_image(tmp_path / "store" / "blob.nii.gz", scan.mask, scan.affine)
    (tmp_path / "brain.nii.gz").symlink_to(tmp_path / "store" / "blob.nii.gz")
    for path in ("brain.nii.gz", "sub-01/../brain.nii.gz"):
        np.testing.assert_array_equal(load_case(f"bids:{tmp_path}?mask={path}").problem.mask, scan.mask)


@pytest.mark.parametrize("text", ["01/../../other", "../01", "01\\..", "/etc"])
@pytest.mark.parametrize("option", ["subject", "session", "run", "suffix"])
def test_values_of_names_are_no_paths(option, text, write, tmp_path):
    write()
    with pytest.raises(ParameterError, match=f"data set option {option}: .* is a path"):
        load_case(f"bids:{tmp_path}?{option}={text}")
