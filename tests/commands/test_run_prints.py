"""What the reconstruction command says of mask, weight and metrics."""

import json
import re

import pytest
from PIL import Image

from qsm_recon.io import write_json
from qsm_recon.metrics.scores import METRIC_UNITS, OFFICIAL_METRICS


def title(folder):
    with Image.open(folder / "out" / "figure.png") as picture:
        return picture.text["Title"]


def test_the_mask_is_printed(files, scan, inputs, run):
    voxels = int(scan.mask.sum())
    assert f"mask: mask.nii.gz, {voxels} voxels" in run(*inputs.field, "--algo", "tkd").out.splitlines()
    assert "mask" not in run(*inputs.field, "--algo", "tkd", "--quiet").out


def test_a_mask_found_in_derivatives_is_printed(files, scan, run):
    for number, time in enumerate((0.004, 0.012), start=1):
        for part, image in (("mag", scan.magnitude), ("phase", scan.phase)):
            name = f"set/sub-7/anat/sub-7_echo-{number}_part-{part}_MEGRE"
            files.write(name, image[..., number - 1])
            write_json(files.folder / f"{name}.json", {"EchoTime": time, "MagneticFieldStrength": 7, "Units": "rad"})
    files.write("set/derivatives/tool/sub-7/anat/sub-7_desc-brain_mask", scan.mask)
    done = run("--dataset", "bids:set?subject=7", "--algo", "tkd")
    assert done.code == 0
    found = "set/derivatives/tool/sub-7/anat/sub-7_desc-brain_mask.nii.gz"
    assert f"mask: {found}, {int(scan.mask.sum())} voxels" in done.out.splitlines()


def test_a_mask_that_was_made_is_printed_as_made(files, scan, inputs, run):
    done = run(*inputs.echoes[:4], *inputs.echoes[6:], "--algo", "tkd")
    assert done.code == 0
    (line,) = [line for line in done.out.splitlines() if line.startswith("mask: ")]
    assert line.startswith("mask: made ")
    report = json.loads((files.folder / "out" / "report.json").read_text("utf-8"))
    assert line.endswith(f", {report['geometry']['mask_voxels']} voxels")


def test_metrics_are_printed_with_their_units(files, inputs, run):
    done = run(*inputs.field, "--truth", "truth.nii.gz", "--labels", "labels.nii.gz", "--algo", "tkd")
    report = json.loads((files.folder / "out" / "report.json").read_text("utf-8"))
    nrmse = report["metrics"]["nrmse"]
    assert re.search(rf"^ +nrmse: {nrmse:.4g} %$", done.out, re.MULTILINE)
    assert re.search(r"^ +mi: [\d.]+ nats$", done.out, re.MULTILINE)
    assert re.search(r"^ +xsim: [\d.]+$", done.out, re.MULTILINE)
    assert {name for name in OFFICIAL_METRICS if METRIC_UNITS.get(name) == "%"} == set(OFFICIAL_METRICS[:5])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), r"threshold 0\.\d+ \(default"),
        (("--regularisation", "0.2"), r"threshold 0\.2 \(as given\)"),
        (("--set", "threshold=0.25"), r"threshold 0\.25 \(as given\)"),
    ],
)
def test_the_pictures_title_says_data_set_weight_and_where_that_came_from(options, words, files, scan, inputs, run):
    assert run(*inputs.field, "--algo", "tkd", *options).code == 0
    said = title(files.folder)
    assert re.search(words, said)
    assert "21×24×18 voxels of 1.5×1×2 mm" in said


def test_the_pictures_title_says_that_a_rule_chose(files, inputs, run):
    assert run(*inputs.field, "--algo", "tikhonov", "--select", "gcv", "--quiet").code == 0
    report = json.loads((files.folder / "out" / "report.json").read_text("utf-8"))
    value = report["result"]["selection"]["value"]
    unit = "[1 (identity) or mm² (gradient)]"
    assert f"regularisation weight {value:.4g} {unit} (chosen by gcv)" in title(files.folder)
