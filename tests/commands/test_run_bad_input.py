"""Bad input: exit code 2, one line that names file or argument and what to do, nothing written."""

import json
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest

CENTRE = (10, 12, 9)


def changed(image, where, value):
    copy = np.array(image, dtype=np.float32)
    copy[where] = value
    return copy


def moved(affine):
    other = affine.copy()
    other[0, 3] += 2
    return other


def field_of(name, unit="ppm"):
    return ["--field", name, "--field-unit", unit, "--mask", "mask.nii.gz"]


def masked_by(name):
    return ["--field", "field.nii.gz", "--field-unit", "ppm", "--mask", name]


def given(*further):
    return [*field_of("field.nii.gz"), *further]


def text_file(name, text):
    Path(name).write_text(text)
    return name


def truncated(source, name):
    content = Path(source).read_bytes()
    Path(name).write_bytes(content[: len(content) // 2])
    return name


def giant(name):
    """An image whose header claims 4 TiB; nothing follows it."""
    header = nibabel.Nifti1Header()
    header.set_data_shape((10000, 10000, 10000))
    header.set_data_dtype(np.float32)
    Path(name).write_bytes(header.binaryblock + struct.pack("4x"))
    return name


# What is wrong: the arguments, made from the written files `f` and the scan `s`, and words of the message.
FILES = {
    "field missing": (lambda f, s: field_of("no.nii.gz"), ["no.nii.gz", "no such file"]),
    "mask missing": (lambda f, s: masked_by("no.nii.gz"), ["no.nii.gz", "no such file"]),
    "field is text": (lambda f, s: field_of(text_file("t.nii", "hello")), ["t.nii", "not a readable NIfTI"]),
    "field cut off": (lambda f, s: field_of(truncated("field.nii.gz", "cut.nii.gz")), ["cut.nii.gz", "not a readable"]),
    "field a folder": (lambda f, s: field_of("."), [".", "not a readable NIfTI"]),
    "shapes": (lambda f, s: masked_by(f.write("small", s.mask[1:])), ["small", "field.nii.gz", "(20, 24, 18)"]),
    "affines": (
        lambda f, s: masked_by(f.write("far", s.mask, moved(s.affine))), ["far.nii.gz", "field.nii.gz", "2 mm"],
    ),
    "mask empty": (lambda f, s: masked_by(f.write("none", s.mask & False)), ["none.nii.gz", "empty"]),
    "mask grey": (lambda f, s: masked_by("magnitude.nii.gz"), ["magnitude.nii.gz", "binary", "threshold"]),
    "NaN in mask": (
        lambda f, s: field_of(f.write("nan", changed(s.field, CENTRE, np.nan))),
        ["nan.nii.gz", "1 voxels", "(10, 12, 9)", "repair"],
    ),
    "Inf in mask": (
        lambda f, s: field_of(f.write("inf", changed(s.field, (10, 12, [8, 9]), np.inf))),
        ["inf.nii.gz", "2 voxels", "(10, 12, 8)"],
    ),
    "magnitude zero": (
        lambda f, s: given("--magnitude", f.write("dark", 0 * s.field)), ["dark.nii.gz", "zero everywhere"],
    ),
    "magnitude negative": (
        lambda f, s: given("--magnitude", f.write("neg", changed(s.field + 1, CENTRE, -5))),
        ["neg.nii.gz", "negative", "-5"],
    ),
    "single slice": (
        lambda f, s: ["--field", f.write("one", s.field[9:10]), "--field-unit", "ppm",
                      "--mask", f.write("one_mask", s.mask[9:10])],
        ["one_mask.nii.gz", "1 slice(s) along axis 1", "do not determine susceptibility"],
    ),
    "flat file": (lambda f, s: field_of(f.write("flat", s.field[..., 9])), ["flat.nii.gz", "single slice", "merge"]),
    "field nowhere zero, no mask": (
        lambda f, s: ["--field", f.write("full", s.field + 1), "--field-unit", "ppm"], ["full.nii.gz", "--mask"],
    ),
    "magnitude 4D": (lambda f, s: given("--magnitude", "magnitudes.nii.gz"), ["magnitudes.nii.gz", "4 volumes"]),
    "field 4D": (lambda f, s: field_of("phases.nii.gz"), ["phases.nii.gz", "3D", "(21, 24, 18, 4)"]),
    "weight of another shape": (
        lambda f, s: given("--weight", f.write("thin", s.field[:, 1:])), ["thin.nii.gz", "field.nii.gz"],
    ),
    "Hz as ppm": (lambda f, s: field_of("hz.nii.gz"), ["hz.nii.gz", "Hz", "--field-unit"]),
    "ppm as Hz": (
        lambda f, s: [*field_of(f.write("p", 0.02 * s.field), "Hz"), "--b0", "7"], ["p.nii.gz", "--field-unit ppm"],
    ),
    "Hz without B0": (lambda f, s: field_of("hz.nii.gz", "Hz"), ["hz.nii.gz", "--b0"]),
    "rad without TE": (lambda f, s: [*field_of("rad.nii.gz", "rad"), "--b0", "7"], ["rad.nii.gz", "--te"]),
    "rad without B0": (lambda f, s: [*field_of("rad.nii.gz", "rad"), "--te", "0.02"], ["rad.nii.gz", "--b0"]),
    "TE in ms": (lambda f, s: [*field_of("rad.nii.gz", "rad"), "--b0", "7", "--te", "20"], ["milliseconds", "0.020"]),
    "B0 in MHz": (lambda f, s: given("--b0", "298"), ["B0", "tesla", "298"]),
    "B0 zero": (lambda f, s: given("--b0", "0"), ["B0", "tesla"]),
    "truth of another shape": (
        lambda f, s: given("--truth", f.write("crop", s.chi[..., 1:])), ["crop.nii.gz", "field.nii.gz"],
    ),
    "labels missing": (
        lambda f, s: given("--truth", "truth.nii.gz", "--labels", "no.nii.gz"), ["no.nii.gz", "no such file"],
    ),
    "reference missing": (lambda f, s: given("--reference", "mena"), ["mena", "no such file"]),
    "reference on another grid": (
        lambda f, s: given("--reference", f.write("far", s.mask, moved(s.affine))), ["far.nii.gz", "field.nii.gz"],
    ),
    "reference outside the mask": (
        lambda f, s: given("--reference", f.write("out", ~s.mask)), ["out.nii.gz", "does not meet the mask"],
    ),
    "image beyond memory": (lambda f, s: field_of(giant("giant.nii")), ["giant.nii", "GiB", "available", "crop"]),
}  # fmt: skip

OPTIONS = {
    "direction of two": (given("--b0-direction", "0", "1"), ["B0 direction", "three numbers"]),
    "direction without length": (given("--b0-direction", "0", "0", "0"), ["B0 direction", "three numbers"]),
    "direction of words": (given("--b0-direction", "up"), ["--b0-direction", "'up'"]),
    "algorithm": (given("--algo", "fanci"), ["'fanci'", "did you mean 'fansi'"]),
    "parameter": (given("--set", "tolerence=1"), ["'tolerence'", "did you mean 'tolerance'"]),
    "parameter without value": (given("--set", "tolerance"), ["--set tolerance", "NAME=VALUE"]),
    "parameter of wrong type": (given("--set", "padding=much"), ["padding", "'much'"]),
    "parameter out of range": (given("--set", "tolerance=-1"), ["tolerance", "-1", "0 … 1"]),
    "parameter not a number": (given("--set", "tolerance=nan"), ["tolerance", "nan", "range"]),
    "parameter given twice": (given("--set", "padding=1", "--set", "padding=2"), ["padding", "twice"]),
    "choice": (given("--set", "kernel=contiuous"), ["kernel", "did you mean 'continuous'"]),
    "regularisation out of range": (given("--algo", "tkd", "--regularisation", "3"), ["threshold", "3", "range"]),
    "regularisation set twice": (
        given("--algo", "tkd", "--regularisation", "0.1", "--set", "threshold=0.1"), ["--regularisation", "threshold"],
    ),
    "option": (given("--regularisaton", "1"), ["--regularisaton", "did you mean '--regularisation'"]),
    "abbreviated option": (given("--thr", "1"), ["--thr", "did you mean '--threads'"]),
    "stray argument": (given("chi"), ["unknown argument chi"]),
    "number": (given("--te", "20ms"), ["--te", "'20ms'"]),
    "unit": (field_of("hz.nii.gz", "hz"), ["--field-unit", "'hz'", "Hz"]),
    "no unit": (["--field", "field.nii.gz", "--mask", "mask.nii.gz"], ["--field-unit", "ppm, ppb, Hz, rad or rad/s"]),
    "imaginary without real": (["--imaginary", "phases.nii.gz"], ["--real", "--imaginary"]),
    "bipolar for a field": (given("--bipolar", "yes"), ["--bipolar", "--field"]),
    "sign for a field": (given("--phase-sign", "negative"), ["--phase-sign", "--field"]),
    "sign of the phantom": (["--dataset", "phantom:sim2", "--phase-sign", "negative"], ["phantom", "--phase-sign"]),
    "bipolar of a field map": (["--dataset", "rc1:.", "--bipolar", "yes"], ["rc1", "--bipolar"]),
    "phase unit": (
        ["--phase", "phases.nii.gz", "--magnitude", "magnitudes.nii.gz", "--mask", "mask.nii.gz", "--b0", "7", "--te",
         "0.004", "0.012", "0.02", "0.028", "--phase-unit", "degress"], ["did you mean 'degrees'", "LOW:HIGH"],
    ),
    "no field": (["--mask", "mask.nii.gz"], ["--mask", "--field or --phase"]),
    "labels without truth": (given("--labels", "labels.nii.gz"), ["labels", "--truth"]),
    "field and phase": (given("--phase", "phases.nii.gz", "--magnitude", "magnitudes.nii.gz"), ["--field", "--phase"]),
    "option for phase only": (given("--field-estimate", "fit"), ["--field-estimate", "--field"]),
    "threads": (given("--threads", "0"), ["threads", "at least 1"]),
    "device": (given("--device", "gpu"), ["device", "cpu, cuda", "'gpu'"]),
    "memory limit": (given("--memory-limit", "-1"), ["memory limit", "positive"]),
    "too little memory": (
        given("--set", "padding=512", "--memory-limit", "1.5"),
        ["fansi on field", "GiB of memory needed", "limit of 1.5 GiB", "padding"],
    ),
    "kind of data set": (["--dataset", "rc3:folder"], ["rc3", "did you mean"]),
    "data set not found": (["--dataset", "rc1:nowhere"], ["nowhere", "no such folder"]),
    "data set without images": (["--dataset", "rc1:."], [".", "no "]),
    "data set option": (["--dataset", "phantom:sim2?sn=1"], ["'sn'", "did you mean 'snr'"]),
    "phantom": (["--dataset", "phantom:sim3"], ["sim3", "did you mean"]),
    "data set and files": (["--dataset", "phantom:sim2", "--mask", "mask.nii.gz"], ["--mask", "data set"]),
    "data set and B0": (["--dataset", "phantom:sim2", "--b0", "3"], ["--b0", "data set"]),
    "embedded data and TE": (["--te", "0.02"], ["--te", "data set"]),
}  # fmt: skip


def echoes(*, phase="phases.nii.gz", magnitude="magnitudes.nii.gz", times=("0.004", "0.012", "0.02", "0.028")):
    files = ["--phase", *np.atleast_1d(phase), "--magnitude", *np.atleast_1d(magnitude), "--mask", "mask.nii.gz"]
    return [*map(str, files), "--b0", "7", "--te", *times]


def split(f, image, part, numbers):
    return [f.write(f"echo-{number}_{part}", image[..., i]) for i, number in enumerate(numbers)]


ECHOES = {
    "times too few": (lambda f, s: echoes(times=("0.004", "0.012")), ["phases.nii.gz", "4 image(s)", "2 echo time(s)"]),
    "times unsorted": (lambda f, s: echoes(times=("0.004", "0.02", "0.012", "0.028")), ["echo times", "increase"]),
    "times in ms": (lambda f, s: echoes(times=("4", "12", "20", "28")), ["milliseconds"]),
    "counts": (
        lambda f, s: echoes(magnitude=f.write("three", s.magnitude[..., :3])),
        ["three.nii.gz", "3 magnitude", "4 phase", "phases.nii.gz"],
    ),
    "files unsorted": (
        lambda f, s: echoes(phase=split(f, s.phase, "phase", (1, 3, 2, 4))), ["echo-1_phase", "1, 3, 2, 4", "order"],
    ),
    "echoes mixed": (
        lambda f, s: echoes(
            phase=split(f, s.phase, "phase", (1, 2, 3, 4)), magnitude=split(f, s.magnitude, "mag", (1, 2, 3, 5))
        ),
        ["echo-4_phase", "echo-5_mag"],
    ),
    "phase scale": (lambda f, s: echoes(phase=f.write("odd", 500 * s.phase)), ["odd.nii.gz", "unit"]),
    "no magnitude": (
        lambda f, s: ["--phase", "phases.nii.gz", "--mask", "mask.nii.gz", "--b0", "7", "--te", "0.02"],
        ["--magnitude"],
    ),
    "no B0": (lambda f, s: [*echoes()[:6], "--te", "1e-3", "2e-3", "3e-3", "4e-3"], ["phases.nii.gz", "--b0"]),
    "unit for a field": (lambda f, s: [*echoes(), "--field-unit", "Hz"], ["--field-unit", "--phase"]),
    "unit of another range": (
        lambda f, s: [*echoes(phase=f.write("deg", np.degrees(s.phase))), "--phase-unit", "rad"],
        ["deg.nii.gz", "--phase-unit degrees", "--accept-range"],
    ),
    "part of a turn": (lambda f, s: echoes(phase=f.write("part", 0.3 * s.phase)), ["part.nii.gz", "one full turn"]),
    "next to nothing": (
        lambda f, s: [*echoes(phase=f.write("tiny", s.phase / 850)), "--phase-unit", "rad"],
        ["tiny.nii.gz", "0.0012 of a turn", "LOW:HIGH"],
    ),
    "exchanged": (
        lambda f, s: echoes(phase="magnitudes.nii.gz", magnitude=f.write("twelve", np.rint(652 * s.phase + 2048))),
        ["magnitudes.nii.gz", "exchange"],
    ),
    "exchanged with radians": (
        lambda f, s: echoes(phase="magnitudes.nii.gz", magnitude="phases.nii.gz"), ["phases.nii.gz", "exchanged"],
    ),
    "bipolar of two echoes": (
        lambda f, s: [
            *echoes(phase=f.write("p2", s.phase[..., :2]), magnitude=f.write("m2", s.magnitude[..., :2]),
                    times=("0.004", "0.012")), "--bipolar", "yes",
        ], ["bipolar", "at least 3 echoes"],
    ),
    "single slice": (
        lambda f, s: [
            *echoes(phase=f.write("p1", s.phase[:, :, 9:10]), magnitude=f.write("m1", s.magnitude[:, :, 9:10]))[:4],
            "--mask", f.write("k1", s.mask[:, :, 9:10]), *echoes()[6:],
        ], ["k1.nii.gz", "1 slice(s) along axis 3", "do not determine susceptibility"],
    ),
    "phase NaN": (
        lambda f, s: echoes(phase=f.write("nan", changed(s.phase, (*CENTRE, 1), np.nan))),
        ["nan.nii.gz", "echo 2", "(10, 12, 9)"],
    ),
}  # fmt: skip


def check_refused(done, words, folder="out"):
    assert done.code == 2, done.err
    assert done.out == ""
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]
    assert not Path(folder).exists()


@pytest.mark.parametrize("name", FILES)
def test_files(scan, files, run, name):
    make, words = FILES[name]
    check_refused(run(*make(files, scan), "--quiet"), words)


@pytest.mark.parametrize("name", OPTIONS)
def test_options(files, run, name):
    arguments, words = OPTIONS[name]
    check_refused(run(*arguments, "--quiet"), words)


@pytest.mark.parametrize("name", ECHOES)
def test_echoes(scan, files, run, name):
    make, words = ECHOES[name]
    check_refused(run(*make(files, scan), "--quiet"), words)


def test_a_range_can_be_insisted_on(files, run):
    assert run(*field_of("hz.nii.gz"), "--accept-range", "--algo", "tkd", "--quiet").code == 0


def test_values_outside_the_mask_that_are_not_finite_are_noted(scan, files, run):
    files.write("hole", changed(scan.field, (0, 0, slice(0, 3)), np.nan))
    assert run(*field_of("hole.nii.gz"), "--algo", "tkd", "--quiet").code == 0
    notes = json.loads(Path("out/report.json").read_text())["input"]["notes"]
    assert any("hole.nii.gz" in note and "3 values outside the mask" in note for note in notes)


def test_memory_estimate_is_printed_before_it_is_refused(files, run):
    done = run(*given("--set", "padding=512", "--memory-limit", "1.5"))
    assert done.code == 2
    estimate, error = done.err.splitlines()
    assert estimate.startswith("memory: about")
    assert error.startswith("error: fansi on field")


def test_missing_fields_of_a_data_set(scan, files, run):
    from qsm_recon.io import save_image

    folder = files.folder / "bids" / "sub-1" / "anat"
    for part in ("mag", "phase"):
        stem = f"sub-1_echo-1_part-{part}_MEGRE"
        save_image(folder / f"{stem}.nii.gz", getattr(scan, {"mag": "magnitude"}.get(part, part))[..., 0], scan.affine)
        (folder / f"{stem}.json").write_text(json.dumps({"EchoTime": 0.004}))
    save_image(folder / "sub-1_mask.nii.gz", scan.mask, scan.affine)
    done = run("--dataset", "bids:bids?mask=sub-1/anat/sub-1_mask.nii.gz", "--quiet")
    check_refused(done, ["sub-1_echo-1_part", ".json", "MagneticFieldStrength"])


@pytest.mark.parametrize("place", ["a-file", "a-file/below"])
def test_output_folder_with_a_file_in_the_way(files, run, place):
    Path("a-file").write_text("mine")
    done = run(*given("--out", place, "--quiet"))
    assert done.code == 2
    assert f"--out {place}" in done.err
    assert "a-file' is not a folder" in done.err
    assert Path("a-file").read_text() == "mine"


def test_output_with_a_folder_in_the_way(files, run):
    Path("out/figure.png").mkdir(parents=True)
    done = run(*given("--quiet"))
    assert done.code == 2
    assert "figure.png" in done.err
    assert [p.name for p in Path("out").iterdir()] == ["figure.png"]


def test_an_input_is_never_replaced(scan, files, run):
    Path("out").mkdir()
    Path("truth.nii.gz").rename("out/chi.nii.gz")
    before = Path("out/chi.nii.gz").read_bytes()
    done = run(*given("--truth", "out/chi.nii.gz", "--quiet"))
    assert done.code == 2
    assert "out/chi.nii.gz" in done.err
    assert Path("out/chi.nii.gz").read_bytes() == before
