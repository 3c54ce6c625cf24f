"""A machine that is full, locked or bare: a clear error, or a fallback that works, said once; nothing half done."""

import os
import shutil
import subprocess
from functools import partial

import numpy as np
import pytest

from qsm_recon.cohort.command import main as cohort_main
from qsm_recon.commands import evaluate, lcurve, run
from qsm_recon.io import load_image
from qsm_recon.phantom.__main__ import main as phantom_main

from .conftest import finish, require_whole, start

resource = pytest.importorskip("resource")
QUICK = ("-m", "qsm_recon.run", "--algo", "tkd", "--threads", "1", "--quiet")
SWEEP = ("-m", "qsm_recon.lcurve", "--algo", "tikhonov", "--points", "7", "--threads", "1", "--quiet")
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
NOBODY = 65534


def limited(limit):
    """Let a process write files of so many bytes only, as a disk does that is nearly full."""
    return partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))


def one_line(err):
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    return lines[0]


@pytest.mark.parametrize("limit", [0, 3000, 40000])
def test_a_disk_that_is_full_leaves_nothing_of_a_run(limit, field_options, tmp_path):
    out = tmp_path / "out"
    code, _, err = finish(start(*QUICK, *field_options, "--out", str(out), preexec_fn=limited(limit)))
    assert code == 2
    assert "cannot be written" in one_line(err)
    assert not out.exists()


@pytest.mark.parametrize("limit", [0, 20000])
def test_a_disk_that_is_full_stops_a_sweep_which_then_goes_on(limit, field_options, tmp_path):
    out = tmp_path / "out"
    words = (*SWEEP, *field_options, "--out", str(out))
    code, _, err = finish(start(*words, preexec_fn=limited(limit)))
    assert code == 2
    assert "cannot be written" in one_line(err)
    if out.exists():
        require_whole(out)
    code, _, err = finish(start(*words))
    assert code in (0, 3), err
    require_whole(out)


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of its own that holds 64 kB."""
    if not AS_ROOT or shutil.which("mount") is None:
        pytest.skip("only root can mount one")
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], check=False)
    if done.returncode:
        pytest.skip("this container may not mount one")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_file_system_that_fills_up(tiny_disk, field_options):
    out = tiny_disk / "out"
    code, _, err = finish(start(*QUICK, *field_options, "--out", str(out)))
    assert code == 2
    assert "No space left on device" in one_line(err)
    assert not list(tiny_disk.iterdir())


def test_a_cache_on_a_full_disk_costs_time_only(tiny_disk, field_options, tmp_path):
    (tiny_disk / "filler").write_bytes(bytes(60000))
    environment = {"QSM_RECON_CACHE": str(tiny_disk)}
    code, _, err = finish(start(*QUICK, *field_options, "--out", str(tmp_path / "out"), env=environment))
    assert code == 0, err
    assert err.count("the cache cannot be written (No space left on device)") <= 1, err
    assert require_whole(tmp_path / "out") >= 3


TWO_USERS = """
import os, sys
from qsm_recon import run
words, free, locked = sys.argv[3:], sys.argv[1], sys.argv[2]
code = run.main([*words, "--out", free + "/first"])  # everything is imported while the installation can be read
os.setgid({nobody})
os.setuid({nobody})
print(code, run.main([*words, "--out", locked + "/out"]), run.main([*words, "--out", free + "/second"]))
"""


@pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
def test_another_user_is_told_of_a_folder_that_is_not_theirs_and_works_in_one_that_is(field_options, ball, tmp_path):
    free, locked = tmp_path / "free", tmp_path / "locked"
    for folder, mode in ((free, 0o777), (locked, 0o755)):
        folder.mkdir()
        folder.chmod(mode)
    for folder in (ball, *ball.parents, *tmp_path.parents, tmp_path):
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o005 and "pytest" in str(folder):
            folder.chmod(0o755)
    words = list(QUICK[2:])
    code, out, err = finish(
        start("-c", TWO_USERS.format(nobody=NOBODY), str(free), str(locked), *words, *field_options)
    )
    assert code == 0, err
    assert out.split()[-3:] == ["0", "2", "0"], err
    assert "is not a folder that can be written" in one_line(err)
    assert not list(locked.iterdir())
    require_whole(free)


PRIVATE = """
import os, sys
from qsm_recon import run
from qsm_recon.commands.evaluate import main as evaluate
free, private, field, mask = sys.argv[1:]
words = ["--algo", "tkd", "--quiet", "--field-unit", "ppm"]
run.main([*words, "--field", field, "--mask", mask, "--out", free + "/first"])  # see above
os.setgid({nobody})
os.setuid({nobody})
print(
    run.main([*words, "--field", field, "--mask", mask, "--out", private + "/deep/out"]),
    run.main([*words, "--field", field, "--mask", private + "/mask.nii.gz", "--out", free + "/second"]),
    run.main(["--dataset", "bids:" + private + "/study", "--out", free + "/second"]),
    evaluate([field, "--truth", private + "/truth.nii.gz", "--mask", mask]),
)
"""


@pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
def test_folders_that_only_others_may_enter_are_told_of_in_one_line(ball, tmp_path):
    """Whether something is there cannot even be asked: that ended in a traceback."""
    free, private = tmp_path / "free", tmp_path / "private"
    for folder, mode in ((free, 0o777), (private, 0o700)):
        folder.mkdir()
        folder.chmod(mode)
    for folder in (ball, *ball.parents, *tmp_path.parents, tmp_path):
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o005 and "pytest" in str(folder):
            folder.chmod(0o755)
    given = [str(ball / f"{name}.nii.gz") for name in ("field", "mask")]
    code, out, err = finish(start("-c", PRIVATE.format(nobody=NOBODY), str(free), str(private), *given))
    assert code == 0, err
    assert out.split()[-4:] == ["2"] * 4, err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert [str(private) in line and "Permission denied" in line for line in errors] == [True] * 4, err
    assert not (free / "second").exists()


@pytest.mark.parametrize("name", ["a" * 300, "/".join(["b" * 200] * 30)], ids=["name", "path"])
def test_names_that_no_file_can_have_are_told_of_in_one_line(name, ball, field_options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scored = ("--truth", str(ball / "field.nii.gz"), "--mask", str(ball / "mask.nii.gz"))
    for main, words in (
        (run.main, ("--algo", "tkd", *field_options, "--out", name)),
        (run.main, ("--algo", "tkd", *field_options[:-1], f"{name}.nii.gz", "--out", "out")),
        (run.main, ("--algo", "tkd", "--dataset", f"bids:{name}", "--out", "out")),
        (lcurve.main, ("--algo", "tkd", *field_options, "--out", name)),
        (evaluate.main, (str(ball / "field.nii.gz"), *scored, "--out", name)),
        (cohort_main, (str(ball), name, "participant")),
        (cohort_main, (name, "out", "participant")),
        (phantom_main, ("--out", name)),
    ):
        assert main(list(words)) == 2
        captured = capsys.readouterr()
        assert not captured.out
        assert "File name too long" in one_line(captured.err)
    assert not list(tmp_path.iterdir())


def test_without_a_home_folder_it_works_and_the_cache_is_spoken_of_once_at_most(field_options, tmp_path):
    environment = {"HOME": "/proc/nobody", "XDG_CACHE_HOME": "/proc/nobody/cache", "QSM_RECON_CACHE": ""}
    words = [word for word in QUICK if word != "--quiet"]
    code, _, err = finish(start(*words, *field_options, "--out", str(tmp_path / "out"), env=environment))
    assert code == 0, err
    assert sum("cache" in line for line in err.splitlines()) <= 1, err
    require_whole(tmp_path / "out")


def test_a_cache_that_is_a_file_costs_time_only(field_options, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    environment = {"QSM_RECON_CACHE": str(tmp_path / "cache")}
    code, _, err = finish(start(*QUICK, *field_options, "--out", str(tmp_path / "out"), env=environment))
    assert code == 0, err
    assert np.isfinite(load_image(tmp_path / "out" / "chi.nii.gz").data).all()


def test_an_out_folder_that_is_a_file_is_named(field_options, tmp_path):
    (tmp_path / "out").write_text("in the way")
    code, _, err = finish(start(*QUICK, *field_options, "--out", str(tmp_path / "out")))
    assert code == 2
    assert str(tmp_path / "out") in one_line(err)
    assert (tmp_path / "out").read_text() == "in the way"


FILLING = """
import logging, resource
import numpy as np
logging.basicConfig(format="%(message)s")
from qsm_recon.backend.kernels.image import replace_planes
from qsm_recon.backend.jit import compiled_folder
print(compiled_folder() is not None)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # the disk is full from now on
for kind in (np.float32, np.float64):
    image, fresh = np.zeros((2, 3, 4), kind), np.ones((2, 3, 4), kind)
    print(replace_planes(image, fresh, 0, 4), image.sum())
"""


def test_a_kernel_that_cannot_be_cached_is_used_and_that_is_said_once(tmp_path):
    pytest.importorskip("numba")
    environment = {"QSM_RECON_CACHE": str(tmp_path), "NUMBA_CACHE_DIR": ""}
    code, out, err = finish(start("-c", FILLING, env=environment))
    assert code == 0, err
    assert out.split("\n")[:3] == ["True", "(24.0, 24.0) 24.0", "(24.0, 24.0) 24.0"]
    assert err.count("the cache cannot be written (File too large); kernels are compiled anew") == 1, err
