"""A folder holds one run: what an earlier one left there goes, and nothing else does."""

import json
import re
import shutil
from pathlib import Path

from qsm_recon.report import outputs


def names(folder):
    return {path.name for path in Path(folder).iterdir()}


PLAIN = {"chi.nii.gz", "report.json", "figure.png"}
SETTING = ("--set", "max_iterations=3")


def test_maps_of_another_method_and_stages_go(files, inputs, run):
    run(*inputs.field, "--algo", "wh-qsm", *SETTING, "--keep-stages")
    first = names("out")
    former = {name for name in first if name.startswith("stage_")}
    assert former
    assert first - PLAIN - former, "wh-qsm has a map of its own"
    Path("out/of_mine.nii.gz").write_bytes(b"x")
    run(*inputs.field, "--algo", "tkd")
    assert names("out") == PLAIN | {"of_mine.nii.gz"}


def test_a_run_that_is_refused_removes_nothing(files, inputs, run):
    run(*inputs.field, "--algo", "tkd", "--keep-stages")
    before = names("out")
    assert run("--field", "field.nii.gz", "--field-unit", "ppm", "--mask", "missing.nii.gz").code == 2
    assert names("out") == before


def test_stages_that_are_inputs_stay(files, inputs, run):
    run(*inputs.field, "--algo", "tkd", "--keep-stages")
    assert Path("out/stage_mask.nii.gz").exists()
    done = run(*inputs.field, "--algo", "tkd", "--mask", "out/stage_mask.nii.gz")
    assert done.code == 0, done.err
    assert names("out") == PLAIN | {"stage_mask.nii.gz"}


def test_a_report_names_no_file_of_another_folder(files, inputs, run):
    Path("out").mkdir()
    Path("treasure.nii.gz").write_bytes(b"x")
    Path("out/notes.txt").write_text("x")
    listed = ["../treasure.nii.gz", str(Path("treasure.nii.gz").resolve()), "notes.txt", 3, None]
    Path("out/report.json").write_text(json.dumps({"stages": listed, "result": {"further_maps": listed}}))
    run(*inputs.field, "--algo", "tkd")
    assert Path("treasure.nii.gz").exists()
    assert names("out") == PLAIN | {"notes.txt"}


def test_a_damaged_report_is_replaced(files, inputs, run):
    Path("out").mkdir()
    for content in ("{", "[]", '{"stages": {"a": 1}, "result": 7}'):
        Path("out/report.json").write_text(content)
        assert run(*inputs.field, "--algo", "tkd").code == 0
        assert names("out") == PLAIN


def test_that_a_run_is_replaced_is_said(files, inputs, run):
    assert "replaced" not in run(*inputs.field, "--algo", "tsvd").err
    said = run(*inputs.field, "--algo", "tkd").err
    assert re.search(
        r"^out: the run of tsvd of \d{4}-\d\d-\d\d \d\d:\d\d UTC was there before and is replaced$", said, re.M
    )
    assert "replaced" not in run(*inputs.field, "--algo", "tkd", "--quiet").err
    for damaged in ("", "[]", "{}", '{"algorithm": 3, "run": {"date": 5}}'):
        Path("out/report.json").write_text(damaged)
        done = run(*inputs.field, "--algo", "tkd")
        assert done.code == 0, done.err
        assert "replaced" not in done.err


def test_maps_that_are_inputs_are_not_written_over(files, inputs, run):
    """A mask kept from a run with background removal was replaced by the smaller one that is left of it."""
    removal = ("--background", "lbv", "--keep-stages")
    run(*inputs.field, "--algo", "tkd", *removal)
    mask = Path("out/stage_mask.nii.gz")
    before, content = names("out"), mask.read_bytes()
    done = run(*inputs.field, "--algo", "tkd", "--mask", mask, *removal)
    assert done.code == 2
    assert f"--out out: the result would replace the input {mask}; choose another folder" in done.err
    assert (names("out"), mask.read_bytes()) == (before, content)
    assert run(*inputs.field, "--algo", "tkd", "--mask", mask, *removal, "--out", "other").code == 0
    assert Path("other/stage_mask.nii.gz").stat().st_size != len(content)

    harmonic = Path("out/background_field_ppm.nii.gz")
    run(*inputs.field, "--algo", "wh-qsm", *SETTING)
    content = harmonic.read_bytes()
    done = run("--field", harmonic, *inputs.field[2:], "--algo", "wh-qsm", *SETTING, "--accept-range")
    assert done.code == 2
    assert f"the result would replace the input {harmonic}" in done.err
    assert harmonic.read_bytes() == content


def test_what_another_run_left_there_in_the_meantime_goes_as_well(files, inputs, run, monkeypatch):
    """Two runs at once into one folder: stages of the one that ended first stayed beside the map of the other."""
    arguments = (*inputs.field, "--algo", "tkd")
    assert run(*arguments, "--set", "threshold=0.3", "--keep-stages", "--html", "--out", "first").code == 0
    draw = outputs.save_figure

    def draw_while_the_other_ends(figure, path):
        draw(figure, path)
        for left in Path("first").iterdir():
            shutil.copy(left, path.parent.parent)

    monkeypatch.setattr(outputs, "save_figure", draw_while_the_other_ends)
    assert run(*arguments).code == 0
    assert names("out") == PLAIN
    report = json.loads(Path("out/report.json").read_text())
    assert report["algorithm"]["parameters"]["threshold"] != 0.3
