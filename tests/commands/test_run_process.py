"""The command in a process of its own: exit codes, Ctrl-C, full disks, terminals."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pytest

import qsm_recon
from qsm_recon.io import load_image

try:
    import resource
except ImportError:  # Windows
    resource = None

PACKAGE = Path(qsm_recon.__file__).parent
WAIT_SECONDS = 300
ENDLESS = ("--set", "tolerance=0", "--set", "max_iterations=1000000")


def finish(process):
    out, err = process.communicate(timeout=WAIT_SECONDS)
    return process.returncode, out, err


def read_until(stream, word):
    """Lines of a process up to the one that holds a word."""
    lines = []
    while not lines or word not in lines[-1]:
        lines.append(stream.readline())
        assert lines[-1], f"the process ended without '{word}': {''.join(lines)}"
    return lines


def test_embedded_phantom_is_the_default(files, start):
    code, out, err = finish(start("--algo", "tkd", "--seed", "3"))
    assert code == 0, err
    assert "nrmse" in out
    assert out.splitlines()[-1].endswith("are in out/")
    assert "Traceback" not in err
    found = json.loads(Path("out/report.json").read_text())
    assert found["input"]["name"] == "sim2"
    assert "noise_seed=3" in found["input"]["files"]["phantom"]["source"]
    assert found["metrics"]["calcification_moment_deviation"] is not None
    assert nibabel.load("out/chi.nii.gz").shape == tuple(found["geometry"]["shape"])


def test_exit_codes(files, inputs, start):
    bad, short = start("--algo", "fanci"), start(*inputs.field, "--set", "max_iterations=2", "--quiet")
    code, out, err = finish(bad)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("error: algorithm 'fanci'")
    code, out, err = finish(short)
    assert (code, out) == (3, "")
    assert err == "fansi did not converge: the iteration limit was reached (the result is written and marked)\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send to a process")
def test_interruption_writes_the_result_and_marks_it(scan, files, inputs, start):
    process = start(*inputs.field, *ENDLESS)
    read_until(process.stderr, "iteration")
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert code == 3, err
    assert "interrupted by the user" in err
    assert "are in out/" in out
    found = json.loads(Path("out/report.json").read_text())
    assert found["result"]["converged"] is False
    assert found["result"]["stop_reason"] == "interrupted by the user"
    assert 0 < found["result"]["iterations"] == len(found["history"]["objective"]) < 1_000_000
    values = nibabel.load("out/chi.nii.gz").get_fdata()
    assert np.corrcoef(values[scan.mask], scan.chi[scan.mask])[0, 1] > 0.8
    assert sorted(p.name for p in Path("out").iterdir()) == ["chi.nii.gz", "figure.png", "report.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send to a process")
@pytest.mark.parametrize(
    "words", [["-m", "qsm_recon.run"], ["-m", "qsm_recon", "run"], ["-m", "qsm_recon.phantom", "--out", "head"],
              ["qsm-recon", "run"]], ids=" ".join,
)  # fmt: skip
def test_interruption_while_importing_is_one_line(start, words, tmp_path, monkeypatch):
    """Python tells of every import as it ends, of which this is one of the first."""
    monkeypatch.chdir(tmp_path)
    script = "import sys\nfrom qsm_recon.__main__ import program\nsys.exit(program())\n"  # as pip writes it
    Path("qsm-recon").write_text(script)
    process = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1", "PYTHONPATH": str(PACKAGE.parent)},
    )  # fmt: skip
    read_until(process.stderr, "qsm_recon.errors")
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert (code, out) == (130, "")
    assert [line for line in err.splitlines() if "import time:" not in line] == ["interrupted; nothing was written"]
    assert [path.name for path in tmp_path.iterdir()] == ["qsm-recon"]


def open_when_read(pipe):
    """Open a named pipe for writing as soon as another process reads from it."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads yet
            time.sleep(0.02)
    pytest.fail(f"nobody has opened {pipe}")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_interruption_while_reading_writes_nothing(files, start):
    """The parameters of the data set are a pipe that never delivers, so the command certainly waits for it."""
    Path("contract").mkdir()
    os.mkfifo("contract/params.json")
    process = start("--dataset", "qsmci:contract")
    pipe = open_when_read("contract/params.json")
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    os.close(pipe)
    assert (code, err) == (130, "interrupted; nothing was written\n")
    assert not Path("out").exists()


@pytest.mark.skipif(resource is None, reason="no limits on the size of files")
def test_a_full_disk_leaves_nothing_half_written(files, inputs, run, start, cache):
    """A limit on the size of files stops the map or, once that is written, the larger picture."""
    arguments = (*inputs.field, "--algo", "tkd", "--quiet")
    assert run(*arguments, "--out", "whole").code == 0
    size = {path.name: path.stat().st_size for path in Path("whole").iterdir()}
    limits = {"chi.nii.gz": size["chi.nii.gz"] // 2, "figure.png": (size["chi.nii.gz"] + size["figure.png"]) // 2}
    assert limits["figure.png"] > size["chi.nii.gz"]
    Path("old").mkdir()
    Path("old/chi.nii.gz").write_text("an earlier result")
    started = []
    for limit in limits.values():
        restrict = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
        started.append(start(*arguments, "--out", "old" if started else "new/er", preexec_fn=restrict))
    for process, name in zip(started, limits, strict=True):
        code, _, err = finish(process)
        assert code == 2, err
        assert "Traceback" not in err
        assert err.splitlines()[-1].startswith(f"error: {'new/er' if name == 'chi.nii.gz' else 'old'}/{name}: cannot")
        assert "File too large" in err
    assert not Path("new").exists()
    assert [p.name for p in Path("old").iterdir()] == ["chi.nii.gz"]
    assert Path("old/chi.nii.gz").read_text() == "an earlier result"


# A process inherits the peak of the one that starts it, so that a small one stands between it and the tests.
PEAK_OF = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="the memory of a process is not told")
@pytest.mark.parametrize("with_truth", [pytest.param(False, marks=pytest.mark.slow), True])
def test_memory_estimate_is_near_the_truth(tmp_path, monkeypatch, with_truth):
    """Within a factor two of the peak, of which compiling kernels for the first time is a good part."""
    from qsm_recon.io import save_image

    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(2).normal(0, 0.02, (128, 120, 125)).astype(np.float32)
    save_image("field.nii", noise, np.eye(4))
    save_image("mask.nii", np.ones(noise.shape, bool), np.eye(4))
    extra = ("--truth", "field.nii") if with_truth else ()
    head = ("--field", "field.nii", "--field-unit", "ppm", "--mask", "mask.nii", "--set", "max_iterations=2")
    command = [sys.executable, "-m", "qsm_recon.run", *head, *extra, "--quiet"]
    process = subprocess.run([sys.executable, "-c", PEAK_OF, *command], stdout=subprocess.PIPE, text=True, check=False)
    assert process.returncode == 3
    peak = int(process.stdout)
    estimate = json.loads(Path("out/report.json").read_text())["run"]["memory_estimate_gib"] * 2**30
    assert 0.5 < estimate / peak < 2


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_progress_bar_on_a_terminal(files, inputs, start):
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    limit = ("--set", "tolerance=0", "--set", "max_iterations=3000")  # the bar waits for half a second
    process = start(*inputs.field, *limit, stderr=theirs)
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.5)[0]:
            try:
                chunk = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not chunk:
                break
            shown += chunk
    os.close(ours)
    process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 3
    text = shown.decode()
    assert "/3000 [" in text
    assert "it/s, objective " in text
    assert "did not converge" in text


@pytest.mark.slow
def test_two_runs_at_once_in_one_cache_folder(files, inputs, start, cache, monkeypatch):
    """Both compile, plan and write there at the same time; their maps are those of runs that have it for themselves."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)  # which kernels of this process have set
    kinds = {kind: ("--algo", "tv", "--set", "max_iterations=20", "--set", f"precision={kind}", "--threads", "1")
             for kind in ("single", "double")}  # fmt: skip
    together = {kind: start(*inputs.field, *words, "--out", f"together_{kind}") for kind, words in kinds.items()}
    for process in together.values():
        said = process.communicate(timeout=10 * WAIT_SECONDS)
        assert process.returncode in (0, 3), said
    assert list(cache.rglob("*.nbi")), "the kernels are kept"
    for kind, words in kinds.items():
        alone = start(*inputs.field, *words, "--out", f"alone_{kind}")
        said = alone.communicate(timeout=10 * WAIT_SECONDS)
        assert alone.returncode in (0, 3), said
        one, other = (load_image(f"{folder}_{kind}/chi.nii.gz").data for folder in ("together", "alone"))
        assert np.abs(one).max() > 0.05
        assert np.allclose(one, other, rtol=1e-4, atol=1e-6)
    assert not list(cache.rglob("*.part"))


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send to a process")
def test_interruption_while_a_background_is_removed_writes_nothing(files, inputs, start):
    settings = ("--background-set", "tolerance=0", "max_iterations=100000")
    process = start(*inputs.total, "--algo", "tkd", "--background", "pdf", *settings)
    read_until(process.stderr, "iteration")
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert (code, out) == (130, "")
    assert err.endswith("interrupted; nothing was written\n")
    assert not Path("out").exists()
