"""The cache folder: what it holds, its limit, and several processes that use it at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from qsm_recon.backend.cache_folder import CACHE_VARIABLE, cache_folder, write_in_one_step
from qsm_recon.backend.cache_upkeep import (
    DAY_S,
    LIMIT_VARIABLE,
    begin_use,
    cache_entries,
    cache_limit_bytes,
    clear_cache,
    prune_cache,
)
from qsm_recon.errors import ParameterError
from qsm_recon.phantom.cache import cached, key

MB = 10**6


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    cache_folder.cache_clear()
    yield tmp_path
    cache_folder.cache_clear()


@pytest.fixture
def limit(monkeypatch):
    return lambda megabytes: monkeypatch.setenv(LIMIT_VARIABLE, str(megabytes / 1000))


@pytest.fixture
def keep(root):
    """Put something into the cache that was last used some days ago."""

    def put(name, days, size=MB):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
        used = time.time() - days * DAY_S
        for place in (path, path.parent):
            os.utime(place, (used, used))
        return path

    return put


def arrays(value):
    return {"values": np.full(MB, value, np.uint8)}


def names(entries):
    return [entry.path.name for entry in entries]


# ---- the limit ----


def test_what_was_used_least_recently_makes_room(root, limit):
    limit(3.5)
    for stage in "abc":
        cached(stage, {}, lambda: arrays(1))
    for days, stage in enumerate("abc"):
        used = time.time() - (10 - days) * DAY_S
        os.utime(root / "phantom" / key(stage, {}), (used, used))
    cached("a", {}, lambda: pytest.fail("it is kept"))  # the oldest, but used now
    cached("d", {}, lambda: arrays(2))
    assert {name[0] for name in names(cache_entries())} == {"a", "c", "d"}
    assert sum(entry.size_bytes for entry in cache_entries()) <= 3.5 * MB


def test_what_is_over_the_limit_is_not_kept_and_takes_nothing_away(root, limit):
    limit(1.5)
    cached("a", {}, lambda: arrays(1))
    found = cached("b", {}, lambda: {"values": np.full(2 * MB, 7, np.uint8)})
    assert found["values"].sum() == 14 * MB
    assert [name[0] for name in names(cache_entries())] == ["a"]


def test_nothing_is_kept_where_the_limit_is_zero(root, limit):
    limit(0)
    assert cached("a", {}, lambda: arrays(1))["values"].sum() == MB
    assert cache_entries() == []


def test_kernels_of_old_versions_go_but_not_those_that_may_run(root, keep, limit):
    keep("kernels/0123456789abcdef/room/x.nbc", days=20)
    os.utime(root / "kernels" / "0123456789abcdef", (time.time() - 20 * DAY_S,) * 2)
    keep("kernels/fedcba9876543210/room/x.nbc", days=0)
    wisdom = keep("fft/wisdom.json", days=30)
    limit(0.5)
    new = root / "kernels" / "00000000ffffffff"
    new.mkdir()
    begin_use(new)
    assert sorted(path.name for path in (root / "kernels").iterdir()) == ["00000000ffffffff", "fedcba9876543210"]
    assert wisdom.exists()


def test_what_a_killed_process_left_is_removed_whatever_the_limit(keep, root):
    old, new = keep("phantom/a.npz.0.part", days=2), keep("phantom/b.npz.1.part", days=0)
    os.utime(old, (time.time() - 2 * DAY_S,) * 2)
    assert names(prune_cache()) == ["a.npz.0.part"]
    assert not old.exists()
    assert new.exists()


@pytest.mark.parametrize("text", ["much", "-1", "nan", "4 GB"])
def test_a_limit_that_is_no_number_is_refused_before_the_work(root, monkeypatch, text):
    monkeypatch.setenv(LIMIT_VARIABLE, text)
    with pytest.raises(ParameterError, match=f"{LIMIT_VARIABLE}: expected a number of gigabytes.*found '{text}'"):
        cached("a", {}, lambda: pytest.fail("nothing is to be computed"))


def test_the_limit_is_4_gigabytes_unless_said(monkeypatch):
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    assert cache_limit_bytes() == 4e9
    monkeypatch.setenv(LIMIT_VARIABLE, "inf")
    assert cache_limit_bytes() == float("inf")


# ---- clearing ----


def test_clearing_takes_what_is_ours_and_leaves_what_is_not(keep, root):
    for name in ("phantom/a.npz", "phantom/b.npz.0.part", "fft/wisdom.json", "kernels/0123456789abcdef/room/x.nbc"):
        keep(name, days=0, size=1000)
    mine = [keep(name, days=0) for name in ("thesis.npz", "phantom/notes.txt", "kernels/mine/x.nbc", "maps/a.npz")]
    link = root / "phantom" / "link.npz"
    link.symlink_to(mine[0])
    removed, left = clear_cache()
    assert sum(entry.size_bytes for entry in removed) >= 4000
    assert sorted(entry.kind for entry in removed) == ["kernels", "phantoms", "unfinished", "wisdom"]
    assert left == cache_entries() == []
    assert all(path.exists() for path in (*mine, link))


# ---- writing ----


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    write_in_one_step(path, lambda file: file.write(b"first"))

    def fail(file):
        file.write(b"sec")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        write_in_one_step(path, fail)
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


# ---- two processes at once ----

SHARE = """
import json, logging, sys, time
from pathlib import Path
import numpy as np
from qsm_recon.backend.cache_folder import cache_folder
from qsm_recon.backend.cache_upkeep import clear_cache
from qsm_recon.backend.fft import FourierTransform
from qsm_recon.phantom.cache import cached
number, meeting = int(sys.argv[1]), Path(sys.argv[2])
rng, computed, said = np.random.default_rng(number), 0, []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logger = logging.getLogger("qsm_recon.phantom.cache")
logger.addHandler(handler)
logger.setLevel("INFO")

def compute(n):
    global computed
    computed += 1
    return {"values": np.full(100_000, n, np.int64), "n": np.array(n)}

def plan(shape):
    transform = FourierTransform(shape)
    image = rng.standard_normal(shape).astype(np.float32)
    found = transform.forward(transform.load_image(image), transform.empty_spectrum())
    assert np.allclose(transform.spectrum_view(found), np.fft.rfftn(image), atol=1e-3)
    wisdom = cache_folder("fft") / "wisdom.json"
    try:
        text = wisdom.read_text("utf-8")
    except FileNotFoundError:  # the other has cleared the cache
        return
    assert len(json.loads(text)) == 3

(meeting / sys.argv[1]).touch()
while len(list(meeting.iterdir())) < 2:
    time.sleep(0.005)
for turn in range(120):
    n = int(rng.integers(8))
    found = cached("stage", {"n": n}, lambda: compute(n))
    assert found["n"] == n and (found["values"] == n).all() and found["values"].size == 100_000, n
    if turn % 15 == 0:
        plan((6 + turn // 15, 5 + number, 8))
    if turn % 40 == 39:
        clear_cache()
assert not [message for message in said if "damaged" in message], said
print(computed)
"""


def test_two_processes_share_all_while_room_is_made_and_the_cache_is_cleared(tmp_path):
    """2.9 MB of room for eight things of 0.8 MB: each write of one takes away what the other is reading."""
    pytest.importorskip("pyfftw")
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SHARE, number, str(meeting)],
            env={**os.environ, CACHE_VARIABLE: str(tmp_path), LIMIT_VARIABLE: "0.0029"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in ("1", "2")
    ]
    done = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], [err for _, err in done]
    assert all(8 < int(out) < 120 for out, _ in done), "neither was the cache used, nor was anything removed"
    kept = [path for name in ("phantom", "fft") for path in (tmp_path / name).iterdir()]
    assert not [path for path in kept if path.suffix not in {".npz", ".json"}], "an unfinished file was left behind"
    for path in (tmp_path / "phantom").iterdir():
        with np.load(path) as stored:
            assert (stored["values"] == stored["n"]).all()


PLAN = """
import os, subprocess, sys
import numpy as np
from qsm_recon.backend.fft import FourierTransform
def plan(n):
    transform = FourierTransform((n, 9, 8))
    transform.forward(transform.empty_image(), transform.empty_spectrum())
"""


def test_wisdom_of_another_process_is_not_lost(tmp_path, run_python):
    """One that has read the file before another adds to it."""
    pytest.importorskip("pyfftw")
    path = tmp_path / "fft" / "wisdom.json"
    environment = {CACHE_VARIABLE: str(tmp_path), "CODE": PLAN + "plan(12)"}
    run_python(PLAN + "plan(10)\nsubprocess.run([sys.executable, '-c', os.environ['CODE']], check=True)\nplan(14)",
               **environment)  # fmt: skip
    written = path.read_text("utf-8")
    run_python(PLAN + "plan(10); plan(12); plan(14)", **environment)
    assert path.read_text("utf-8") == written, "one of them was planned afresh"
