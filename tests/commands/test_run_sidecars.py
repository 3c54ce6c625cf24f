"""What JSON files beside the images say must not contradict what is given."""

import json
from pathlib import Path

import numpy as np
import pytest

from qsm_recon.cohort.__main__ import main as cohort
from qsm_recon.io import load_image
from qsm_recon.lcurve import main as lcurve

B0_TESLA, TIMES = 7.0, (0.004, 0.012, 0.020, 0.028)
STRENGTH = "MagneticFieldStrength"


def sidecar(image, **values):
    Path(image.replace(".nii.gz", ".json")).write_text(json.dumps(values))


def refusal(done):
    assert done.code == 2
    assert not Path("out").exists()
    (line,) = done.err.splitlines()
    return line


ECHOES = "phases.nii.gz: its JSON file says a field strength of 3 T, but 7 T is given"


@pytest.mark.parametrize("part", ["phases", "magnitudes"])
def test_a_field_strength_that_contradicts_the_echoes_is_refused(files, inputs, run, part):
    sidecar(f"{part}.nii.gz", MagneticFieldStrength=3)
    line = refusal(run(*inputs.echoes, "--algo", "tkd", "--quiet"))
    assert line.endswith(f"{ECHOES.replace('phases', part)}; correct the one that is wrong (--b0, or {STRENGTH})")


def test_one_of_several_files_is_enough(files, scan, inputs, run):
    for part, images in (("phase", scan.phase), ("mag", scan.magnitude)):
        for echo in range(4):
            files.write(f"{part}_{echo + 1}", images[..., echo])
    sidecar("phase_3.nii.gz", MagneticFieldStrength=3)
    phases, magnitudes = ([f"{part}_{n}.nii.gz" for n in (1, 2, 3, 4)] for part in ("phase", "mag"))
    given = ("--phase", *phases, "--magnitude", *magnitudes, *inputs.echoes[4:])
    assert "phase_3.nii.gz: its JSON file says" in refusal(run(*given, "--algo", "tkd", "--quiet"))


@pytest.mark.parametrize("stated", [6.98, 7.0, 6.7])
def test_a_rounded_field_strength_is_the_same(files, scan, inputs, run, stated):
    """The map is that of the strength given."""
    assert run(*inputs.echoes, "--algo", "tkd", "--quiet", "--out", "plain").code == 0
    sidecar("phases.nii.gz", MagneticFieldStrength=stated)
    assert run(*inputs.echoes, "--algo", "tkd", "--quiet").code == 0
    maps = [load_image(f"{folder}/chi.nii.gz").data for folder in ("plain", "out")]
    np.testing.assert_array_equal(*maps)
    assert json.loads(Path("out/report.json").read_text())["input"]["b0_tesla"] == B0_TESLA


@pytest.mark.parametrize("beside", ["hz", "magnitude"])
def test_a_field_map_has_the_strength_of_its_sidecar(files, inputs, run, beside):
    given = ("--field", "hz.nii.gz", "--field-unit", "Hz", *inputs.field[4:], "--magnitude", "magnitude.nii.gz")
    sidecar(f"{beside}.nii.gz", MagneticFieldStrength=2.89362)
    line = refusal(run(*given, "--b0", "7", "--algo", "tkd", "--quiet"))
    assert f"{beside}.nii.gz: its JSON file says a field strength of 2.89362 T, but 7 T is given" in line
    assert run(*given, "--b0", "3", "--algo", "tkd", "--quiet").code == 0


def test_the_lcurve_refuses_it_too(files, inputs, capsys):
    sidecar("phases.nii.gz", MagneticFieldStrength=3)
    assert lcurve([*inputs.echoes, "--algo", "tkd", "--quiet", "--out", "out"]) == 2
    assert ECHOES in capsys.readouterr().err
    assert not Path("out").exists()


def test_in_a_study_magnitude_and_phase_are_of_one_strength(files, scan, run, capsys):
    folder = Path("set/sub-1/anat")
    for echo, time in enumerate((0.004, 0.012, 0.020, 0.028), start=1):
        for part, images, stated in (("mag", scan.magnitude, {}), ("phase", scan.phase, {STRENGTH: 7})):
            name = f"{folder}/sub-1_echo-{echo}_part-{part}_MEGRE"
            files.write(name, images[..., echo - 1])
            sidecar(f"{name}.nii.gz", EchoTime=time, **stated)
    Path("set/sub-1_part-mag_MEGRE.json").write_text('{"MagneticFieldStrength": 3}')  # by inheritance
    line = refusal(run("--dataset", "bids:set", "--algo", "tkd", "--quiet"))
    assert "sub-1_echo-1_part-mag_MEGRE.nii.gz: MagneticFieldStrength 3 T differs from 7 T of" in line
    assert cohort(["set", "results", "participant", "--algo", "tkd", "--quiet"]) != 0
    assert "MagneticFieldStrength 3 T differs from 7 T of" in capsys.readouterr().err


@pytest.mark.usefixtures("files")
def test_a_list_of_echo_times_belongs_to_all_echoes_of_one_image(inputs, run):
    given = (*inputs.echoes_without_times, "--algo", "tkd", "--quiet")
    assert "4 image(s) but 0 echo time(s); give one in seconds per echo (--te)" in refusal(run(*given))
    for times, words in (
        ((4, 12, 20, 28), "phases.nii.gz: EchoTime of its JSON file: echo times: (4.0, 12.0, 20.0, 28.0) look like"),
        (TIMES[:3], "4 image(s) but 3 echo time(s)"),
        (["0.004", "0.012", "0.020", "0.028"], "phases.json: 'EchoTime' is '0.004'; expected a number"),
    ):
        sidecar("phases.nii.gz", EchoTime=list(times))
        assert words in refusal(run(*given))
    sidecar("phases.nii.gz", EchoTime=list(TIMES))
    assert run(*given).code == 0
    assert json.loads(Path("out/report.json").read_text())["input"]["echo_times_s"] == list(TIMES)
    sidecar("magnitudes.nii.gz", EchoTime=[*TIMES[:3], 0.030])
    done = run(*given, "--out", "other")
    assert done.code == 2
    assert "magnitudes.nii.gz: its JSON file says an echo time of 0.03 s, but 0.028 s is given" in done.err
