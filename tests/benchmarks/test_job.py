"""What a job is known by."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.suite import job as job_module
from benchmarks.suite.cases import check, load, portable, voxels
from benchmarks.suite.job import Job, sources_version
from qsm_recon.errors import DataError, ParameterError

PREPARE = "def halved(case):\n    return case\n"


@pytest.mark.parametrize(
    "change",
    [
        {"solver": "tikhonov"}, {"case": "phantom:sim1?size=reduced"}, {"weight": "auto"}, {"weight": "fixed:0.2"},
        {"parameters": (("kernel", "green"),)}, {"magnitude": False},
        {"prepare": "benchmarks.suite.model_errors:direction_off_by_5_degrees"},
        {"measure": "benchmarks.suite.study_total_field:errors_below"},
    ],
    ids=str,
)  # fmt: skip
def test_another_job_has_another_key(change):
    plain = Job.of("tkd", "phantom:sim2?size=reduced")
    assert plain.key() == Job.of("tkd", "phantom:sim2?size=reduced").key()
    assert replace(plain, **change).key() != plain.key()


def test_order_of_parameters_does_not_matter():
    first = Job.of("tv", "phantom:sim2", parameters={"kernel": "green", "padding": 4})
    assert first == Job.of("tv", "phantom:sim2", parameters={"padding": 4, "kernel": "green"})


def test_data_count_by_content_not_by_place(small_head, tmp_path):
    moved = shutil.copy(small_head, tmp_path / "small.npz")
    here, there = (Job.of("tkd", f"head:{path}").key() for path in (small_head, moved))
    assert here == there
    with np.load(small_head) as stored:
        parts = dict(stored)
    (tmp_path / "other").mkdir()
    changed = tmp_path / "other" / "small.npz"
    np.savez(changed, **{**parts, "b0_tesla": 2.0})
    assert Job.of("tkd", f"head:{changed}").key() != here


def test_an_altered_function_of_a_user_gives_another_key(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(PREPARE)
    job = Job.of("tkd", "phantom:sim2", prepare=f"{file}:halved")
    before = job.key()
    file.write_text(PREPARE.replace("return case", "return None"))
    assert job.key() != before


def test_code_counts_but_comments_do_not(tmp_path):
    file = tmp_path / "code.py"

    def code(text):
        file.write_text(text)
        return job_module._code(file)

    plain = code("def f(x):\n    return x + 1\n")
    assert code('"""Says what."""\n# why\ndef f(x):\n    """Adds."""\n    return x + 1  # one\n') == plain
    assert code("def f(x):\n    return x + 2\n") != plain
    assert len(sources_version()) == 24


def test_wrong_jobs_are_refused():
    with pytest.raises(ParameterError, match=r"'autto' is unknown; did you mean 'auto'"):
        Job.of("tkd", "phantom:sim2", "autto")
    with pytest.raises(ParameterError, match="expected fixed:NUMBER"):
        Job.of("tkd", "phantom:sim2", "fixed:much")
    with pytest.raises(ParameterError, match="expected MODULE:FUNCTION"):
        Job.of("tkd", "phantom:sim2", prepare="nothing").key()
    with pytest.raises(ParameterError, match="no such file"):
        Job.of("tkd", "phantom:sim2", prepare="absent.py:f").key()


def test_missing_data_are_refused_before_any_work(tmp_path):
    for specification in (f"rc1:{tmp_path}/absent", f"head:{tmp_path}/absent.npz"):
        with pytest.raises(DataError, match="absent"):
            check(specification)
    with pytest.raises(ParameterError, match=r"expected head:FILE\.npz"):
        check("head:some.npz?field=guess")


def test_specifications_without_folders():
    assert portable("head:/data/heads/a.npz?field=true") == "head:a.npz?field=true"
    assert portable("rc2:/data/RC2/Sim1?field=fit") == "rc2:Sim1?field=fit"
    assert portable("phantom:sim2?snr=100") == "phantom:sim2?snr=100"


def test_voxels_of_phantoms():
    assert voxels("phantom:sim2") == 164 * 205 * 205
    assert voxels("phantom:sim1?size=reduced&voxel_size=4,4,4") == 41 * 51 * 51


def test_field_only_leaves_nothing_else(head):
    bare, full = load(head, magnitude=False).problem, load(head).problem
    assert full.magnitude is not None
    assert (bare.magnitude, bare.field_noise_ppm, bare.r2star_per_s, bare.echoes, bare.reliability) == (None,) * 5
    np.testing.assert_array_equal(bare.field_ppm, full.field_ppm)
