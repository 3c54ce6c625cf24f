"""Other programs beside ours: the same files, the same scorer, what they used, and what goes wrong."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
import psutil
import pytest

from benchmarks import document
from benchmarks.peers.compare import TABLE, against_table, compare, without_folders
from benchmarks.peers.octave import Octave
from benchmarks.peers.peer import PLACEHOLDERS, Executable, Limits, Ours
from benchmarks.peers.process import run_measured
from benchmarks.peers.qsmci import QsmCi
from benchmarks.peers.specification import parse_peer
from benchmarks.speed import command_parser, main
from benchmarks.suite.execute import score
from benchmarks.suite.store import read_rows
from benchmarks.suite.table import number
from qsm_recon import make_solver
from qsm_recon.errors import DataError, ParameterError, ResourceError
from qsm_recon.units import rad_per_ppm

ROOT = Path(__file__).resolve().parents[2]
LISTING = """#!{python}
import pathlib, shutil, sys
pathlib.Path(sys.argv[1], "said").write_text(repr(sys.argv[2:]))
shutil.copy(sys.argv[-2], sys.argv[-1])
"""


DIVERGING = """#!{python}
import sys
import nibabel, numpy as np
field = nibabel.load(sys.argv[1])
nibabel.save(nibabel.Nifti1Image((1e16 * field.get_fdata()).astype(np.float32), field.affine), sys.argv[2])
"""


def test_a_program_of_a_users_is_scored_and_measured(truncated, head, case, tmp_path):
    said = []
    rows = compare([parse_peer(truncated)], head, results=tmp_path / "r", say=said.append)
    (row,) = rows
    assert row.tags["program"] == "my-tkd"
    record = row.record
    ours = score(case, make_solver("tkd", threshold=0.2).solve(case.problem)).values
    # periodic there, padded here, and with the threshold's own fill: the same method otherwise
    assert record.metrics["nrmse"] == pytest.approx(ours["nrmse"], rel=0.15)
    assert record.metrics["xsim"] == pytest.approx(ours["xsim"], abs=0.1)
    assert record.cpu_s > 0.05
    assert 0.02 < record.peak_gib < 1
    assert record.threads == 1
    assert said == [f"my-tkd: NRMSE {record.metrics['nrmse']:.1f}, {record.cpu_s:.1f} s CPU, "
                    f"{record.wall_s:.1f} s, {record.peak_gib:.2f} GiB"]  # fmt: skip
    assert f"| my-tkd | executable | – | {record.metrics['nrmse']:.1f} |" in against_table(rows)


def test_the_error_of_a_program_that_diverged_is_a_power_of_ten(program, head, tmp_path):
    huge = f"exec:{program(DIVERGING, 'huge')} {{field}} {{output}}"
    said = []
    (row,) = compare([parse_peer(huge)], head, results=tmp_path / "r", say=said.append)
    assert row.record.metrics["nrmse"] > 1e12
    power = f"{row.record.metrics['nrmse']:.0e}".replace("e+", "e")
    assert f"NRMSE {power}," in said[0]
    assert f"| huge | executable | – | {power} |" in against_table([row])
    assert number(999_999.4) == "999999.4"
    assert number(-2e6) == "-2e06"
    assert number(None) == "–"


@pytest.mark.parametrize("unit", ["ppm", "ppb", "hz", "rad"])
def test_files_are_in_the_unit_that_their_name_says(unit, files, case):
    """A program that gives the field back, in the unit it got it in."""
    given = Executable("copy", f"cp {{field_{unit}}} {{output_{unit}}}").run(files, Limits())
    expected = np.where(case.problem.mask, case.problem.field_ppm, 0)
    np.testing.assert_allclose(given.susceptibility_ppm, expected, rtol=1e-5, atol=1e-8)
    assert given.remark == ""


def test_numbers_are_told(files, case, program):
    listing = program(LISTING)
    template = "{folder} {te} te={te_ms} {b0} {b0_direction} {voxel_size} {threads} {mask} {magnitude} {params}"
    Executable("list", f"{listing} {template} {{field}} {{output}}").run(files, Limits(threads=3))
    words = eval((files.folder / "out" / "said").read_text())
    mean = float(np.mean(case.problem.echo_times_s))
    assert float(words[0]) == pytest.approx(mean)
    assert float(words[1].removeprefix("te=")) == pytest.approx(1e3 * mean)
    assert [float(word) for word in words[2:9]] == [3.0, 0, 0, 1, 2, 2, 2]
    assert words[9] == "3"
    assert files.per_ppm("rad") == pytest.approx(rad_per_ppm(3.0, mean))
    assert nibabel.load(words[11]).get_fdata().max() == pytest.approx(1)
    assert json.loads(Path(words[12]).read_text()) == {
        "TE": [0.005, 0.012, 0.02], "B0": 3.0, "B0_dir": [0, 0, 1], "voxel_size": [2, 2, 2]
    }  # fmt: skip


def test_what_grandchildren_use_is_counted_and_what_the_caller_has_is_not(tmp_path):
    ballast = np.ones(2**26)  # 512 MiB of this process, which are not the program's
    burn = "import time\nwhile time.process_time() < 0.4: pass\nkept = bytearray(200 * 2**20)"
    usage = run_measured(["sh", "-c", f'{sys.executable} -c "{burn}"; true'], tmp_path)
    assert usage.cpu_s >= 0.4
    assert 0.195 < usage.peak_gib < 0.35
    assert run_measured(["true"], tmp_path).peak_gib < 0.1
    assert ballast[-1] == 1


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("sh -c 'echo start; echo Error: no licence; echo bye; exit 7' {output}", "exit code 7: Error: no licence"),
        ("sh -c 'echo raise AnError; echo XError: 4; exit 2' {output}", "exit code 2: XError: 4"),
        ("sh -c 'echo no error; echo the last words; exit 2' {output}", "exit code 2: the last words"),
        ("false {output}", "exit code 1: it printed nothing"),
        ("sh -c 'kill -9 $$' {output}", "exit code 137"),
        ("sh -c 'no-such-program-here' {output}", "exit code 127"),
        ("true {output}", "wrote no chimap.nii.gz"),
        ("cp {params} {output}", "not a readable NIfTI image"),
        ("sh -c 'sleep 60' {output}", "stopped after 0.5 s"),
    ],
)
def test_a_program_that_fails_says_why(command, reason, files):
    limits = Limits(seconds=0.5 if "sleep" in command else 60)
    with pytest.raises((DataError, ResourceError), match=reason):
        Executable("x", command).run(files, limits)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("a = a[:-1]", r"shape \(23, 28, 24\); expected \(24, 28, 24\)"),
        ("a = np.stack([a, a], -1)", "expected a 3D image"),
        ("a[12, 12, 12] = np.nan", r"not finite in 1 of \d+ voxels"),
        ("a = 0 * a", "zero everywhere"),
    ],
)
def test_a_map_that_is_none_is_refused(change, reason, files, program):
    text = ("#!{python}\nimport sys, nibabel, numpy as np\nimage = nibabel.load(sys.argv[1])\na = image.get_fdata()\n"
            f"{change}\nnibabel.save(nibabel.Nifti1Image(a.astype('f4'), image.affine), sys.argv[2])\n")  # fmt: skip
    with pytest.raises(DataError, match=reason):
        Executable("x", f"{program(text)} {{field}} {{output}}").run(files, Limits())


def test_a_header_that_places_the_map_elsewhere_is_remarked_on(files, program, head, tmp_path):
    text = ("#!{python}\nimport sys, nibabel, numpy as np\nimage = nibabel.load(sys.argv[1])\n"
            "nibabel.save(nibabel.Nifti1Image(image.get_fdata().astype('f4'), np.eye(4)), sys.argv[2])\n")  # fmt: skip
    peer = Executable("careless", f"{program(text)} {{field}} {{output}}")
    assert "places it elsewhere" in peer.run(files, Limits()).remark
    rows = compare([peer], head, results=tmp_path / "r", say=lambda _: None)
    assert "careless: the header of its map places it elsewhere" in against_table(rows)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("octve:medi", "peer 'octve:medi' is unknown; did you mean 'octave'"),
        ("tool", "peer 'tool' is unknown"),
        ("exec:tool {feild} {output}", "placeholder {feild} is unknown; did you mean 'field'"),
        ("exec:tool {field}", "expected one place for the map"),
        ("exec:tool {output} {output_hz}", "expected one place for the map"),
        ("exec:tool {field {output}", "write {{ and }}"),
        ("exec:tool 'a {output}", "No closing quotation"),
        ("exec:", "the command of a program is empty"),
        ("octave:fansy", "toolbox 'fansy' is unknown; did you mean 'fansi'"),
        ("octave:fansi?alpha=1", "parameter 'alpha' is unknown; did you mean 'alpha1'"),
        ("octave:fansi?alpha1=big", "alpha1 is 'big'; expected a number"),
        ("octave:medi?lambda", "expected NAME=VALUE"),
        ("qsmci:x?runner=dokcer", "runner 'dokcer' is unknown; did you mean 'docker'"),
        ("qsmci:", "expected qsmci:"),
        ("ours:tvv", "tvv"),
        ("ours:tv?regularisation=1", "regularisation"),
        ("ours:tkd?threshold=-1", "threshold: -1 is out of range"),
        ("ours:tkd?select=nope", "selection 'nope' is unknown; did you mean 'cone'"),
    ],
)
def test_a_program_that_makes_no_sense_is_refused_in_one_line(text, reason, capsys):
    with pytest.raises(ParameterError, match=reason.replace("{", r"\{").replace("}", r"\}")):
        parse_peer(text)
    assert main(["--against", text]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1


def test_stored_texts_name_no_folder_of_the_machine():
    for text, expected in (
        ("python -m x --against 'octave:medi?path=/home/me/MEDI toolbox&lambda=1'", "octave:medi?path=MEDI toolbox&"),
        ("exec:/opt/my tools/tkd {field}", "exec:my tools/tkd {field}"),
        ("exec:~/bin/tkd {field} -o ../x", "exec:tkd {field} -o ../x"),
        ("error: /home/me/code/recon.m at line 3", "error: recon.m at line 3"),
        ("phantom:sim2?size=reduced and a/b", "phantom:sim2?size=reduced and a/b"),
    ):
        assert expected in without_folders(text)


def test_specifications_are_read():
    peer = parse_peer("my tool=exec:sh -c 'a=1; b {field} {output}'")
    assert (peer.label, peer.template) == ("my tool", "sh -c 'a=1; b {field} {output}'")
    assert parse_peer("exec:/opt/x/tool {output}").label == "tool"
    peer = parse_peer("octave:medi?path=/a b&lambda=200")
    assert peer == Octave("medi (Octave)", "medi", "/a b", {"lambda": "200"})
    assert parse_peer("qsmci:/a/tkd/?runner=local&threshold=0.2") == QsmCi(
        "tkd (QSM-CI)", "/a/tkd/", "local", {"threshold": "0.2"}
    )
    assert parse_peer("ours:tv?select=auto") == Ours("tv", "tv", {"select": "auto"})


def test_a_method_whose_library_is_not_installed_is_no_peer_of_this_machine():
    """It was run, and its row in the table said that it had failed."""
    absent = parse_peer("ours:fine").missing()
    assert (
        absent == "" if find_spec("torch") and find_spec("safetensors") else "pip install 'qsm_recon[torch]'" in absent
    )
    assert parse_peer("ours:tkd").missing() == ""


def test_numbers_that_make_no_sense_are_refused(capsys, tmp_path):
    for words in (["--threads", "0"], ["--limit", "-1"], ["--rounds", "0"], ["--data", "rc1:/nowhere"]):
        assert main(["--against", "exec:true {output}", "--results", str(tmp_path), *words]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_one_that_is_absent_or_fails_does_not_stop_the_others(truncated, head, tmp_path, capsys):
    results = tmp_path / "r"
    words = ["--against", "exec:no-such-program {field} {output}", "bad=exec:false {output}", truncated]
    assert main([*words, "--ours", "--data", head, "--results", str(results)]) == 0
    printed = capsys.readouterr().out
    assert "skipped: no-such-program: 'no-such-program' is not there" in printed
    assert printed.count("no-such-program") == 2  # in one line, and in no table
    assert "bad: failed: it ended with exit code 1" in printed
    rows = {row.tags["program"]: row.record for row in read_rows(TABLE, results)}
    assert set(rows) == {"bad", "my-tkd"}
    assert rows["bad"].failed
    assert not rows["my-tkd"].failed
    assert str(tmp_path / "files") not in (results / f"{TABLE}.json").read_text()
    assert main(["--against", "exec:no-such-program {output}", "--ours", "--results", str(tmp_path / "none")]) == 0
    assert "Nothing is stored." in capsys.readouterr().out
    assert main(["--against", truncated, "--show", "--results", str(results)]) == 0
    assert "| my-tkd |" in capsys.readouterr().out
    assert document.printed(TABLE, results).startswith("**head:small.npz?field=true**")


def test_ours_is_run_as_any_program_and_gives_what_it_gives(case, files):
    given = parse_peer("ours:ndi?max_iterations=2&automatic_stop=false").run(files, Limits())
    problem = replace(case.problem, magnitude=files.magnitude_image(), echoes=None)
    expected = make_solver("ndi", max_iterations=2, automatic_stop=False).solve(problem)
    mask = problem.mask
    a, b = given.susceptibility_ppm[mask], expected.susceptibility_ppm[mask]
    np.testing.assert_allclose(a - a.mean(), b - b.mean(), atol=1e-5)
    assert given.remark == "it did not converge"


def test_an_interrupted_comparison_keeps_what_is_done(truncated, head, tmp_path):
    results = tmp_path / "r"
    sleeper = tmp_path / "sleeper"
    words = ["--against", truncated, f"slow=exec:sh -c 'echo $$ > {sleeper}; sleep 600' {{output}}", "--ours"]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.speed", *words, "--data", head, "--results", str(results)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        for _ in range(1200):
            if sleeper.is_file() and sleeper.read_text().strip():
                break
            time.sleep(0.1)
        slow = int(sleeper.read_text())
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said == "interrupted: what was measured is stored; the same command measures again\n"
    assert [row.tags["program"] for row in read_rows(TABLE, results)] == ["my-tkd"]
    assert not psutil.pid_exists(slow) or psutil.Process(slow).status() == psutil.STATUS_ZOMBIE


def test_rows_of_other_programs_and_cases_stay(truncated, head, small_head, tmp_path):
    results, quiet = tmp_path / "r", lambda _: None
    other = f"head:{small_head}?field=echoes"
    compare([parse_peer(truncated), parse_peer("copy=exec:cp {field} {output}")], head, results=results, say=quiet)
    compare([parse_peer(truncated)], other, results=results, say=quiet)
    rows = compare([parse_peer(truncated)], head, rounds=2, results=results, say=quiet)
    assert [(row.tags["program"], row.tags["data"][-6:]) for row in rows] == [
        ("my-tkd", "d=true"), ("copy", "d=true"), ("my-tkd", "echoes")
    ]  # fmt: skip
    assert len(rows[0].record.extras["runs"]) == 2


def test_the_page_names_every_placeholder_and_its_commands_are_read():
    page = (ROOT / "docs" / "benchmarks_peers.md").read_text("utf-8")
    for name in PLACEHOLDERS:
        assert f"`{{{name}}}`" in page
    block = "\n".join(re.findall(r"```\n(.*?)```", page, re.DOTALL))
    commands = [line for line in block.replace("\\\n", "").splitlines() if "--against" in line]
    assert len(commands) >= 4
    for command in commands:
        options = command_parser().parse_args(shlex.split(command)[3:])
        for text in options.against:
            parse_peer(text)


def test_files_that_a_command_names_are_found_where_it_was_given(files, case, tmp_path, monkeypatch):
    (tmp_path / "give_back.py").write_text("import shutil, sys; shutil.copy(*sys.argv[1:])")
    monkeypatch.chdir(tmp_path)
    given = Executable("x", f"{sys.executable} give_back.py {{field}} {{output}}").run(files, Limits())
    np.testing.assert_allclose(
        given.susceptibility_ppm, np.where(case.problem.mask, case.problem.field_ppm, 0), atol=1e-7
    )
    (tmp_path / "tool").write_text("#!/bin/sh\ncp $1 $2\n")
    (tmp_path / "tool").chmod(0o755)
    peer = Executable("x", "./tool {field} {output}")
    assert peer.missing() == ""
    assert peer.run(files, Limits()).remark == ""


def test_two_programs_of_one_name_are_refused(head, tmp_path, capsys):
    words = ["--ours", "--data", head, "--results", str(tmp_path / "r")]
    assert main(["--against", "exec:cp {field} {output}", "exec:cp {mask} {output}", *words]) == 2
    assert "two programs are called 'cp'; name one of them" in capsys.readouterr().err
    assert main(["--against", "exec:cp {field} {output}", "field=exec:cp {mask} {output}", *words]) == 0
