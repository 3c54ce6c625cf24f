"""The doctor: right where all is well, wrong where something is, and nothing of the user in what it prints."""

from __future__ import annotations

import importlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from qsm_recon.backend.cache_folder import CACHE_VARIABLE, cache_folder
from qsm_recon.backend.cache_upkeep import LIMIT_VARIABLE
from qsm_recon.checkup import checks, machine
from qsm_recon.checkup.known_answer import BALLS, Answer, compare, known_scan
from qsm_recon.commands import doctor
from qsm_recon.version import __version__


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    importlib.import_module("qsm_recon.backend.jit")  # which chooses, once, the folder of compiled kernels
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    cache_folder.cache_clear()
    yield tmp_path / "cache"
    cache_folder.cache_clear()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def verdicts(report):
    return {check["name"]: check["verdict"] for check in report["checks"]}


# ---- the whole of it ----


def test_all_is_well_here(own_cache, home, capsys):
    assert doctor.main(["--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    report = json.loads(printed.out)
    assert report["well"] is True
    assert "wrong" not in verdicts(report).values()
    assert list(verdicts(report))[-2:] == ["Fourier transforms", "reconstruction"]
    text = report["checks"][-1]["text"]
    assert text.startswith("balls of 0.1000, -0.1500, 0.6000 ppm found as 0.")
    assert "fansi" in text
    assert report["software"]["qsm_recon"] == __version__
    assert report["software"]["numpy"] == np.__version__
    assert report["cache"]["place"] == "~/cache"
    assert report["cache"]["writable"] is True
    assert str(home) not in printed.out
    assert not list(home.glob("*.nii.gz"))


class Idle:
    """A transform that does nothing, as a library built for another processor may."""

    def __init__(self, *arrays, **settings):
        pass

    def update_arrays(self, *arrays):
        pass

    def execute(self):
        pass


def test_a_broken_library_is_found_and_named(own_cache, without_pyfftw, monkeypatch, capsys):
    broken = types.ModuleType("pyfftw")
    broken.__version__, broken.FFTW = "0.15.1", Idle
    broken.export_wisdom, broken.import_wisdom = lambda: (b"", b"", b""), lambda wisdom: None
    monkeypatch.setitem(sys.modules, "pyfftw", broken)
    assert doctor.main([]) == 1
    printed = capsys.readouterr()
    assert "\nWRONG  Fourier transforms: off by 1 there" in printed.out
    assert "\nWRONG  reconstruction: " in printed.out
    assert "\nsomething is wrong: Fourier transforms, reconstruction\n" in printed.out
    assert "paste all of this" in printed.out


def test_a_missing_library_is_named_without_a_traceback_on_the_way(own_cache, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "nibabel", None)
    assert doctor.main(["--json"]) == 1
    printed = capsys.readouterr()
    assert printed.err == ""
    found = {check["name"]: check for check in json.loads(printed.out)["checks"]}
    assert found["required packages"]["verdict"] == "wrong"
    assert found["required packages"]["text"].startswith("nibabel is missing or cannot be imported; install")
    assert found["reconstruction"]["verdict"] == "wrong"
    assert "nibabel" in found["reconstruction"]["text"]
    assert "Traceback" in found["reconstruction"]["trace"]
    assert found["Fourier transforms"]["verdict"] == "ok"


# ---- the known answer ----


def test_the_truth_is_right_and_faults_are_not():
    scan = known_scan()
    truth = scan.susceptibility_ppm
    exact = compare(truth, scan)
    assert exact.right
    assert exact.error_per_cent == pytest.approx(0, abs=1e-6)
    assert exact.balls_ppm == pytest.approx([ball.susceptibility_ppm for ball in BALLS])
    assert compare(truth + 0.3, scan).right, "the zero point is not known from a field"
    for fault in (-truth, 1.03 * truth, 0 * truth, truth + np.nan, truth[:, ::-1], 1000 * truth):
        assert not compare(fault, scan).right
    noise = 0.01 * np.random.default_rng(0).standard_normal(truth.shape)
    assert not compare(truth + noise, scan).right


def test_field_is_that_of_the_susceptibility_by_another_way():
    """The transform's kernel, which knows nothing of balls, gives the textbook's field to within what voxels allow."""
    from qsm_recon import DipoleOperator, Grid

    scan = known_scan()
    grid = Grid.from_affine(scan.mask.shape, scan.affine)
    assert grid.b0_direction == pytest.approx((0, np.sin(np.radians(20)), np.cos(np.radians(20))))
    found = DipoleOperator(grid, padding=20).forward(scan.susceptibility_ppm.astype(np.float32))
    far = scan.mask & (np.abs(scan.field_ppm) < 0.02)
    far &= scan.susceptibility_ppm == 0
    error = np.linalg.norm((found - scan.field_ppm)[far]) / np.linalg.norm(scan.field_ppm[far])
    assert error < 0.1


@pytest.mark.parametrize("values", [(0.1, -0.15, np.nan), (0.1, -0.15, 0.5), (-0.1, 0.15, -0.6)])
def test_one_wrong_ball_is_enough(values):
    assert Answer(5.0, (0.1, -0.15, 0.6)).right
    assert not Answer(5.0, values).right
    assert not Answer(float("nan"), (0.1, -0.15, 0.6)).right


# ---- single checks ----


def test_requirements_that_are_not_met():
    verdict, text = checks.check_requirements(["numpy>=99", "scipy>=1.0", 'absent>=1; python_version < "3"'])
    assert verdict == "wrong"
    assert text.startswith(f"numpy {np.__version__}, expected >=99; ")
    assert "scipy" not in text


def test_a_package_may_be_imported_by_another_name():
    assert machine.module_of("pillow") == "PIL"
    assert machine.module_of("matplotlib") == "matplotlib"
    assert checks.check_requirements(["pillow", "numpy"]) == ("ok", "2 there and new enough")


def test_without_pyfftw_it_is_slower_and_not_wrong(without_pyfftw):
    found = checks.check_requirements(["numpy>=1.24", "pyfftw>=0.13.1"])
    assert found == ("note", "pyfftw cannot be imported: scipy.fft stands in, which is slower")
    verdict, text = checks.check_transforms()
    assert verdict == "ok", text


def test_a_cache_that_cannot_be_written_is_a_note(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    cache_folder.cache_clear()
    verdict, text = checks.check_cache(machine.cache())
    cache_folder.cache_clear()
    assert verdict == "note"
    assert "QSM_RECON_CACHE" in text


def test_too_little_memory_is_a_note():
    verdict, text = checks.check_memory(0.3)
    assert verdict == "note"
    assert text.startswith("0.3 GiB available; fansi takes about 0.7 GiB on")
    assert checks.check_memory(64.0)[0] == "ok"


def test_a_limit_that_is_no_number_is_bad_input(own_cache, monkeypatch, capsys):
    monkeypatch.setenv(LIMIT_VARIABLE, "plenty")
    assert doctor.main([]) == 2
    assert capsys.readouterr().err == (
        f"error: {LIMIT_VARIABLE}: expected a number of gigabytes, 0 or more, or inf; found 'plenty'\n"
    )


# ---- the cache ----


def test_clearing_says_how_much_and_does_nothing_else(own_cache, home, capsys):
    for name in ("phantom/a.npz", "fft/wisdom.json", "kernels/0123456789abcdef/x.nbc", "kept.txt"):
        path = own_cache / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(2_000_000))
    assert doctor.main(["--clear-cache"]) == 0
    out = capsys.readouterr().out
    assert out == "~/cache: 3 entries of 0.006 GB removed\n"
    assert [path.name for path in own_cache.rglob("*") if path.is_file()] == ["kept.txt"]
    assert doctor.main(["--clear-cache", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"place": "~/cache", "removed": 0, "removed_bytes": 0, "left": []}


def test_what_cannot_be_removed_is_named(own_cache, capsys):
    stuck = own_cache / "phantom" / "a.npz"
    stuck.mkdir(parents=True)  # unlink refuses a folder, whoever runs this
    assert doctor.main(["--clear-cache"]) == 1
    assert f"{stuck}: cannot be removed" in capsys.readouterr().out


# ---- the home folder ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/ann/data/x.nii", "~/data/x.nii"),
        ('File "/home/ann/x.py", line 3', 'File "~/x.py", line 3'),
        ("/home/anna/x", "/home/anna/x"),
        ("/data/home/ann/x", "/data/home/ann/x"),
        ("in /home/ann", "in ~"),
    ],
)
def test_home_folder_is_not_told(monkeypatch, text, expected):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/ann"))
    assert machine.without_home({"a": [text, 1]}) == {"a": [expected, 1]}


@pytest.mark.parametrize("home", ["/", None])
def test_users_without_a_home_of_their_own(monkeypatch, home):
    def none():
        raise RuntimeError("no home folder")

    monkeypatch.setattr(Path, "home", none if home is None else lambda: Path(home))
    assert machine.shortened("/data/x") == "/data/x"
