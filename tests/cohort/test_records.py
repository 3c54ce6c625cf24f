"""When an acquisition counts as done."""

import json
import os

import pytest

from qsm_recon.cohort import command, record
from qsm_recon.cohort.acquisitions import find_acquisitions
from qsm_recon.cohort.method import method_from_options
from qsm_recon.cohort.record import DONE, FAILED, Record, all_files, is_done, read_record, read_records, record_path
from qsm_recon.errors import ParameterError


def method_of(*words):
    return method_from_options(command.build_parser().parse_args(["a", "b", "participant", *words]))


@pytest.fixture
def finished(study):
    """One acquisition with the record of a finished run; ``done`` asks whether it is."""
    study.add("sub-01")
    (one,) = find_acquisitions(study.root)
    method = method_of("--algo", "tkd").described
    study.out.mkdir()
    (study.out / "map").write_bytes(b"12345")
    found = Record(one.name, one.entities, DONE, method, inputs=all_files(study.root, one.inputs(study.root)),
                   outputs={"map": 5}, facts={"iterations": 3, "chi_sd": 0.1})  # fmt: skip
    found.write(study.out)
    study.acquisition, study.record, study.method = one, found, method
    study.done = lambda method=method: is_done(study.root, study.out, one, method)
    return study


def test_it_is_done_and_nothing_is_read_or_written(finished, monkeypatch):
    before = record_path(finished.out, "sub-01").stat().st_mtime_ns
    monkeypatch.setattr(record.InputFile, "of", None)  # reading a file would fail
    assert finished.done()
    assert record_path(finished.out, "sub-01").stat().st_mtime_ns == before
    assert read_record(record_path(finished.out, "sub-01")) == finished.record


def test_a_record_from_before_it_told_what_was_left_still_counts(finished):
    path = record_path(finished.out, "sub-01")
    content = json.loads(path.read_text())
    assert content.pop("left") == []
    path.write_text(json.dumps(content))
    assert finished.done()


def test_a_touched_file_is_read_once_and_the_record_learns_its_time(finished, monkeypatch):
    path = finished.file("sub-01", "echo-2_part-phase_MEGRE.nii.gz")
    os.utime(path, ns=(1, 1))
    assert finished.done()
    monkeypatch.setattr(record.InputFile, "of", None)
    assert finished.done()
    assert read_record(record_path(finished.out, "sub-01")).key == finished.record.key


def test_content_changed_under_the_same_size_and_a_new_time(finished):
    path = finished.file("sub-01", "echo-2_part-phase_MEGRE.nii.gz")
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    assert not finished.done()


@pytest.mark.parametrize("change", ["sidecar", "mask", "missing input", "new input", "output", "size", "version"])
def test_what_else_makes_it_undone(finished, change, monkeypatch):
    if change == "sidecar":
        finished.file("sub-01", "echo-1_part-mag_MEGRE.json").write_text('{"EchoTime": 0.5}')
    elif change == "mask":
        (finished.root / finished.acquisition.mask).write_bytes(b"another")
    elif change == "missing input":
        (finished.root / finished.acquisition.mask).unlink()
    elif change == "new input":
        (finished.root / "MEGRE.json").write_text("{}")
    elif change == "output":
        (finished.out / "map").unlink()
    elif change == "size":
        (finished.out / "map").write_bytes(b"123")
    else:
        monkeypatch.setattr(record, "__version__", "99")
    assert not finished.done()


def test_the_method_counts_however_it_is_written(finished):
    assert finished.done(method_of("--algo", "tkd", "--set", "threshold=auto").described)
    assert finished.done(method_of("--algo", "tkd", "--set", "precision=single", "--threads", "2").described)
    for words in (
        ("--algo", "tkd", "--set", "threshold=0.2"), ("--algo", "tsvd"), ("--algo", "tkd", "--background", "pdf"),
        ("--algo", "tkd", "--keep-stages"), ("--algo", "tkd", "--reference", "none"), ("--algo", "tkd", "--two-pass"),
        ("--algo", "tkd", "--phase-sign", "negative"),
    ):  # fmt: skip
        assert not finished.done(method_of(*words).described), words
    with pytest.raises(ParameterError, match=r"--reference mask\.nii: for a cohort auto, mean or none"):
        method_of("--reference", "mask.nii")
    with pytest.raises(ParameterError, match="selection 'lcurv' is unknown; did you mean 'lcurve'"):
        method_of("--select", "lcurv")


def test_words_give_the_same_options_to_the_reconstruction():
    from qsm_recon.commands.options import build_parser

    words = ("--algo", "tkd", "--set", "threshold=0.2", "--set", "padding=4", "--background", "vsharp",
             "--background-set", "step=1", "largest_radius=8", "--phase-unit=-1:1", "--b0-direction", "0", "-1", "0",
             "--accept-range", "--two-pass", "--select", "gcv")  # fmt: skip
    options = command.build_parser().parse_args(["a", "b", "participant", *words[:4], *words[6:-2]])
    parsed = vars(build_parser().parse_args(method_from_options(options).words))
    expected = vars(build_parser().parse_args([*words[:4], *words[6:-2]]))
    assert parsed == expected


def test_failed_damaged_and_foreign_records(finished):
    path = record_path(finished.out, "sub-01")
    finished.acquisition_failed = Record("sub-01", finished.acquisition.entities, FAILED, finished.method, reason="no")
    finished.acquisition_failed.write(finished.out)
    assert not finished.done()
    assert [one.status for one in read_records(finished.out)] == [FAILED]
    for content in ("{", "[]", "{}", '{"key": 1, "inputs": 3}'):
        path.write_text(content)
        assert read_record(path) is None
        assert not finished.done()
    assert read_records(finished.out) == []
