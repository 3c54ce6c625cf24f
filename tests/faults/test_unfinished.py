"""What a killed process left is removed by the next one, and what others are still writing is not."""

import os
import socket
import subprocess
import sys

import pytest

from qsm_recon.errors import ResourceError
from qsm_recon.io import atomic_write_text
from qsm_recon.report.outputs import FIGURE_NAME, MAP_NAME, REPORT_NAME, all_or_nothing
from qsm_recon.unfinished import PREFIX, unfinished_prefix


@pytest.fixture
def ended():
    """Number of a process that lives no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_only_what_ended_processes_of_this_machine_left_goes(tmp_path, ended):
    own = unfinished_prefix()
    assert own.endswith(f"-{os.getpid()}-")
    dead = own.replace(f"-{os.getpid()}-", f"-{ended}-")
    for name in (f"{dead}map.nii.gz", f"{own}map.nii.gz", f"{PREFIX}elsewhere-{ended}-map", ".hidden", f"{dead}"[:-1]):
        (tmp_path / name).write_text("half")
    (tmp_path / f"{dead}folder").mkdir()
    (tmp_path / f"{dead}folder" / "chi.nii.gz").write_text("half")
    atomic_write_text(tmp_path / "whole.txt", "whole")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"{own}map.nii.gz", f"{PREFIX}elsewhere-{ended}-map", ".hidden", "whole.txt"}


def test_a_host_name_is_no_pattern(tmp_path, monkeypatch, ended):
    monkeypatch.setattr(socket, "gethostname", lambda: "node[1]*.lan")
    abandoned = tmp_path / unfinished_prefix().replace(f"-{os.getpid()}-", f"-{ended}-")
    abandoned.write_text("half")
    with all_or_nothing(tmp_path) as staging:
        (staging / MAP_NAME).write_text("chi")
    assert [path.name for path in tmp_path.iterdir()] == [MAP_NAME]


def test_a_report_is_there_only_where_all_that_it_tells_of_is(tmp_path, monkeypatch):
    """A process killed between two moves leaves no report of an earlier run beside a later map."""
    (tmp_path / REPORT_NAME).write_text("earlier")
    seen = []
    replace = type(tmp_path).replace

    def watched(self, target):
        seen.append((target.name, (tmp_path / REPORT_NAME).exists()))
        return replace(self, target)

    monkeypatch.setattr(type(tmp_path), "replace", watched)
    with all_or_nothing(tmp_path) as staging:
        for name in (REPORT_NAME, FIGURE_NAME, MAP_NAME, "stage.nii.gz"):
            (staging / name).write_text("later")
    assert seen == [
        (".former", True), (MAP_NAME, False), (FIGURE_NAME, False), ("stage.nii.gz", False), (REPORT_NAME, False),
    ]  # fmt: skip
    assert {path.read_text() for path in tmp_path.iterdir()} == {"later"}


def test_an_earlier_report_returns_where_a_later_run_cannot_be_put_in_place(tmp_path):
    (tmp_path / REPORT_NAME).write_text("earlier")
    (tmp_path / MAP_NAME).mkdir()  # in the way
    (tmp_path / MAP_NAME / "something").write_text("")

    def write():
        with all_or_nothing(tmp_path) as staging:
            (staging / MAP_NAME).write_text("later")
            (staging / REPORT_NAME).write_text("later")

    with pytest.raises(ResourceError, match="cannot be written"):
        write()
    assert (tmp_path / REPORT_NAME).read_text() == "earlier"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.skipif(os.name == "nt", reason="no umask")
def test_what_is_written_has_the_mode_of_other_files_and_the_umask_stays(tmp_path, monkeypatch):
    """To ask for it is to set it, which two threads at a time left at 0."""
    before = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", None)
        written = atomic_write_text(tmp_path / "new" / "scores.json", "{}")
        assert atomic_write_text(written, "[]").read_text("utf-8") == "[]"
    finally:
        monkeypatch.undo()
        assert os.umask(before) == 0o027
    assert written.stat().st_mode & 0o777 == 0o640
