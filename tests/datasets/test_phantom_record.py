"""Heads side by side: one record each, and no head in the place of another."""

from __future__ import annotations

import json
import shutil

import pytest

from qsm_recon.phantom import __main__ as command
from qsm_recon.phantom.export import LAYOUTS
from qsm_recon.phantom.record import PLACES

SMALL = ("--size", "reduced", "--voxel-size", "8", "8", "8")
RECORDS = {
    "nifti": "phantom.json",
    "bids": "derivatives/truth/sub-sim2/phantom.json",
    "rc2": "Sim2Snr1/GT/phantom.json",
    "qsmci": "groundtruth/phantom.json",
}


@pytest.fixture
def write(tmp_path, capsys):
    """Give the command; returns exit code and what it said of errors."""

    def run(layout, *arguments):
        code = command.main(["--out", str(tmp_path / "study"), "--format", layout, *SMALL, *arguments])
        return code, capsys.readouterr().err

    return run


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def parameters(path):
    return json.loads(path.read_text())["parameters"]


def test_every_layout_says_where_its_heads_are():
    assert set(PLACES) == set(LAYOUTS) == set(RECORDS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_another_head_under_a_name_that_is_there_is_refused(write, tmp_path, layout):
    assert write(layout) == (0, "")
    record = tmp_path / "study" / RECORDS[layout]
    before = contents(tmp_path)
    for arguments, differing in (
        (("--seed", "5"), "seed: 2 there, 5 asked for"),
        (("--noise-seed", "1"), "noise_seed: 0 there, 1 asked for"),
        (("--calcification=-1@-22,38,8:9",), "calcifications: None there"),
    ):
        code, said = write(layout, *arguments)
        assert code == 2
        assert said.startswith(f"error: {record}: another head is there under this name ({differing}")
        assert said.endswith("choose another folder, or remove that head first\n")
        assert said.count("\n") == 1
        assert contents(tmp_path) == before
    (half := next(path for path in before if path.name.endswith(".nii.gz"))).unlink()  # as an interruption leaves it
    assert write(layout) == (0, "")
    assert half.is_file()
    assert set(contents(tmp_path)) == set(before)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_without_a_record_are_not_replaced(write, tmp_path, layout):
    assert write(layout)[0] == 0
    (tmp_path / "study" / RECORDS[layout]).unlink()
    before = contents(tmp_path)
    code, said = write(layout)
    assert (code, said.count("\n")) == (2, 1)
    assert "is there already, without a record" in said
    assert contents(tmp_path) == before


def test_a_bids_set_of_two_heads_has_the_record_of_each(write, tmp_path):
    study = tmp_path / "study"
    study.mkdir()
    (study / "dataset_description.json").write_text('{"Name": "ours"}')
    assert write("bids", "--case", "sim1", "--snr", "inf")[0] == 0
    first = contents(study)
    assert write("bids", "--case", "sim2", "--seed", "5") == (0, "")
    assert contents(study).items() >= first.items()
    truth = study / "derivatives" / "truth"
    heads = {name: parameters(truth / f"sub-{name}" / "phantom.json") for name in ("sim1", "sim2")}
    assert {name: (head["case"], head["seed"], head["snr"]) for name, head in heads.items()} == {
        "sim1": ("sim1", 2, None), "sim2": ("sim2", 5, 100.0)
    }  # fmt: skip
    assert write("bids", "--case", "sim1", "--snr", "inf") == (0, "")
    assert write("bids", "--case", "sim1")[0] == 2


def test_two_noise_levels_of_the_challenge_lie_side_by_side(write, tmp_path):
    assert write("rc2")[0] == write("rc2", "--snr", "1000")[0] == write("rc2", "--snr", "50")[0] == 0
    assert {path.name for path in (tmp_path / "study").iterdir()} == {"Sim2", "Sim2Snr1", "Sim2Snr2"}
    code, said = write("rc2", "--snr", "60")
    assert code == 2
    assert "snr: 50.0 there, 60.0 asked for" in said


def test_a_set_with_the_single_record_of_earlier_versions(write, tmp_path):
    """It describes the head that was written last, and no option that came later."""
    assert write("bids", "--case", "sim1")[0] == write("bids", "--case", "sim2")[0] == 0
    truth = tmp_path / "study" / "derivatives" / "truth"
    former = json.loads(shutil.move(truth / "sub-sim2/phantom.json", truth / "phantom.json").read_text())
    (truth / "sub-sim1/phantom.json").unlink()
    del former["parameters"]["detail_seed"]
    (truth / "phantom.json").write_text(json.dumps(former))
    code, said = write("bids", "--case", "sim2", "--seed", "5")
    assert code == 2
    assert said.startswith(f"error: {truth / 'phantom.json'}: another head is there")
    code, said = write("bids", "--case", "sim1")
    assert code == 2
    assert f"sub-sim1: is there already, without a record ({truth / 'sub-sim1/phantom.json'})" in said
    assert write("bids", "--case", "sim2") == (0, "")
    assert parameters(truth / "sub-sim2/phantom.json")["seed"] == 2


@pytest.mark.parametrize(("text", "said"), [("{", "not a readable JSON file"), ("{}", "no record of a phantom")])
def test_a_record_that_tells_nothing_is_named(write, tmp_path, text, said):
    (tmp_path / "study").mkdir()
    (tmp_path / "study/phantom.json").write_text(text)
    code, error = write("nifti")
    assert (code, error.count("\n"), said in error) == (2, 1, True)
    assert [path.name for path in (tmp_path / "study").iterdir()] == ["phantom.json"]
