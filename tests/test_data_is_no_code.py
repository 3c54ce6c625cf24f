"""Nothing that is read can be run: no pickles, no evaluation of text, no shell."""

from __future__ import annotations

import ast
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from qsm_recon.errors import DataError
from qsm_recon.phantom import cache
from qsm_recon.select import session
from qsm_recon.select.session import Session

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [
    path for room in ("qsm_recon", "benchmarks", "findings", "notebooks") for path in (ROOT / room).rglob("*.py")
]
LOADERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}
CALLS = {"eval", "exec", "compile", "__import__"}


def calls(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def name_of(call):
    return ast.unparse(call.func)


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_no_source_runs_what_it_reads(path):
    tree = ast.parse(path.read_text("utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert not LOADERS & {name.partition(".")[0] for name in imported}
    for call in calls(tree):
        name, keywords = name_of(call), {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert name not in CALLS, f"line {call.lineno}"
        assert not name.startswith(("os.system", "os.popen")), f"line {call.lineno}"
        assert keywords.get("shell", "False") == "False", f"line {call.lineno}"
        if name in ("np.load", "numpy.load"):
            assert keywords.get("allow_pickle") == "False", f"line {call.lineno}: say allow_pickle=False"


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_in_a_session_is_damage_and_is_not_run(tmp_path):
    mark = tmp_path / "run"
    assert pickle.dumps(Bomb(mark))
    bomb = np.array([Bomb(mark)], dtype=object)
    path = tmp_path / "points" / "0-1.npz"
    path.parent.mkdir()
    np.savez(path, susceptibility_ppm=bomb, mask=bomb)
    found, point = Session.__new__(Session), type("Point", (), {"file": "points/0-1.npz", "case": 0})
    found.folder, found.cases = tmp_path, [type("Case", (), {"shape": [2, 2, 2]})]
    with pytest.raises(DataError, match="damaged"):
        found.susceptibility_ppm(point)
    assert not mark.exists()


def test_a_pickle_in_the_cache_of_phantoms_is_damage_and_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "cache_folder", lambda _: tmp_path)
    mark = tmp_path / "run"
    path = tmp_path / cache.key("stage", {})
    np.savez(path, values=np.array([Bomb(mark)], dtype=object))
    found = cache.cached("stage", {}, lambda: {"values": np.arange(3)})
    assert np.array_equal(found["values"], np.arange(3))
    assert not mark.exists()


def test_a_session_cannot_name_files_outside(tmp_path):
    """An index with a right checksum, as somebody else may write it."""
    point = {
        **dict.fromkeys(("value", "data_cost", "regularisation_cost", "seconds"), 1.0),
        **dict.fromkeys(("noise_cost", "influence", "step_from", "step"), None),
        "case": 0, "sha256": "", "band_means": [], "iterations": 1, "settled": True, "stop_reason": "",
    }  # fmt: skip
    header = {"format": session.FORMAT, "algorithm": "tkd", "parameters": {}, "parameter": "threshold", "version": "0"}
    for file in ("../secret.npz", "/etc/passwd", "points/../../secret.npz", "session.json"):
        content = {**header, "cases": [], "points": [{**point, "file": file}]}
        (tmp_path / session.INDEX).write_text(json.dumps({**content, "sha256": session._checksum_of(content)}))
        with pytest.raises(DataError, match="names a file outside the session"):
            Session.open(tmp_path)
