"""Submissions to QSM-CI, and toolboxes under Octave."""

import shutil

import numpy as np
import pytest

from benchmarks.peers.peer import Limits
from benchmarks.peers.specification import parse_peer
from benchmarks.speed import main
from qsm_recon.errors import ResourceError

SUBMISSION = """name: Mine
slug: mine
stage: dipole
run: bash run.sh
parameters:
  - name: threshold
    default: 0.1
    description: of the dipole kernel
"""
RUN = """set -e
T=${QSMCI_SET_THRESHOLD:-0.1}
%s "$1/localfield.nii.gz" "$1/mask.nii.gz" "$T" $QSMCI_B0_DIR "$2/chimap.nii.gz"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_submission_to_qsm_ci_runs_without_a_container(program, truncated, files, tmp_path):
    pytest.importorskip("qsm_ci")
    folder = tmp_path / "mine-qsmci"
    folder.mkdir()
    (folder / "algorithm.yml").write_text(SUBMISSION)
    (folder / "run.sh").write_text(RUN % truncated.removeprefix("exec:").split()[0])
    given = parse_peer(f"qsmci:{folder}?runner=local&threshold=0.2").run(files, Limits())
    same = parse_peer(truncated).run(files, Limits())
    np.testing.assert_allclose(given.susceptibility_ppm, same.susceptibility_ppm, atol=1e-6)
    with pytest.raises(ResourceError, match="unknown parameter 'limit'"):
        parse_peer(f"qsmci:{folder}?runner=local&limit=0.2").run(files, Limits())


def test_what_a_container_needs_is_looked_for(monkeypatch, tmp_path, program):
    pytest.importorskip("qsm_ci")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert parse_peer("qsmci:tkd?runner=podman").missing().startswith("'podman' is not installed; runner=local")
    (tmp_path / "tkd").mkdir()
    (tmp_path / "tkd" / "algorithm.yml").write_text(SUBMISSION)
    assert parse_peer(f"qsmci:{tmp_path}/tkd?runner=local").missing() == ""
    program("#!/bin/false\n", "docker")
    assert "'docker info' fails" in parse_peer("qsmci:tkd").missing()


def test_a_submission_that_is_not_there_is_skipped_by_name(tmp_path, monkeypatch, capsys):
    pytest.importorskip("qsm_ci")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    results = tmp_path / "r"
    for submission, reason in (
        (f"{tmp_path}/gone", f"there is no folder {tmp_path}/gone"),
        ("./gone", "there is no folder gone"),
        ("~/no-such-submission", "/no-such-submission"),
        ("empty", "no algorithm.yml in empty"),
        ("no-such-submission", "no submission 'no-such-submission'"),
    ):
        peer = f"mine=qsmci:{submission}?runner=local"
        assert main(["--against", peer, "--ours", "--results", str(results)]) == 0
        said = capsys.readouterr().out.splitlines()
        assert said[0].startswith("skipped: mine: ")
        assert reason in said[0]
        assert said[1:] == ["Nothing is stored."]
    assert not results.exists()


def test_octave_and_its_toolboxes_are_looked_for(monkeypatch, tmp_path, program):
    monkeypatch.delenv("QSM_OCTAVE_PATH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Octave is not installed" in parse_peer(f"octave:medi?path={tmp_path}").missing()
    program("", "octave-cli")
    assert "where MEDI_L1.m is, is not known" in parse_peer("octave:medi").missing()
    assert f"no MEDI_L1.m in {tmp_path}" in parse_peer(f"octave:medi?path={tmp_path}").missing()
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "MEDI_L1.m").write_text("")
    assert parse_peer(f"octave:medi?path={tmp_path}").missing() == ""
    monkeypatch.setenv("QSM_OCTAVE_PATH", str(tmp_path))
    assert parse_peer("octave:medi").missing() == ""


NLTV = """function out = nlTV(params)
  assert(isa(params.alpha1, 'double') && params.alpha1 == 1e-3 && params.maxOuterIter == 100)
  assert(abs(params.K(1, 1, 2) + 2 / 3) < 1e-12 && abs(params.K(2, 1, 1) - 1 / 3) < 1e-12 && params.K(1, 1, 1) == 0)
  assert(max(params.weight(:)) <= 1)
  out.x = params.input;
end
"""
MEDI = """function x = MEDI_L1(varargin)
  assert(strcmp(varargin{3}, 'lambda') && varargin{4} == 250)
  load('RDF.mat');
  assert(islogical(Mask) && all(isfinite(N_std(:))) && isequal(matrix_size, size(RDF)) && isequal(voxel_size, [2 2 2]))
  x = RDF / (2 * pi * delta_TE * CF) * 1e6;
end
"""


@pytest.mark.skipif(shutil.which("octave-cli") is None, reason="needs Octave")
@pytest.mark.parametrize(
    ("name", "text", "option"), [("nlTV", NLTV, "fansi?alpha1=1e-3"), ("MEDI_L1", MEDI, "medi?lambda=250")]
)
def test_a_toolbox_is_called_as_it_is_documented(name, text, option, files, case, tmp_path):
    """Functions of a user's that check what they get, and give the field back: it has to come back in ppm."""
    folder = tmp_path / "toolbox" / "functions"
    folder.mkdir(parents=True)
    (folder / f"{name}.m").write_text(text)
    given = parse_peer(f"octave:{option}&path={folder.parent}").run(files, Limits())
    mask = case.problem.mask
    np.testing.assert_allclose(given.susceptibility_ppm[mask], case.problem.field_ppm[mask], rtol=1e-4, atol=1e-7)
    with pytest.raises(ResourceError, match="error"):
        parse_peer(f"octave:{option.partition('?')[0]}?path={folder.parent}").run(files, Limits())
