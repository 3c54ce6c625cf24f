"""Fixtures that many tests share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def share_of_the_cores():
    """Leave the other cores to the test processes beside this one (``pytest -n 2``), if there are any."""
    from qsm_recon.backend.threads import set_thread_count, thread_count

    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    set_thread_count(max(1, thread_count() // processes))


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Folder with reference numbers and real data; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the folder with reference data is not here")
    return SHARED


@pytest.fixture(scope="session")
def small_case(shared_folder):
    """Inputs of the toolboxes' small case, float64."""
    path = shared_folder / "reference" / "small_case_inputs.npz"
    if not path.exists():
        pytest.skip("no small reference case")
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


@pytest.fixture
def threads():
    """Choose the number of threads for one test."""
    from qsm_recon.backend.threads import set_thread_count, thread_count

    before = thread_count()
    yield set_thread_count
    set_thread_count(before)


@pytest.fixture
def without_pyfftw(monkeypatch):
    """Run a test as on a machine that has no pyFFTW."""
    from qsm_recon.backend import fft, transforms

    def forget():
        fft._load_fftw.cache_clear()
        transforms._transform_here.cache_clear()

    monkeypatch.setitem(sys.modules, "pyfftw", None)
    forget()
    yield
    monkeypatch.undo()
    forget()


@pytest.fixture
def run_python():
    """Run Python code in a fresh interpreter, with further environment variables; returns what it printed."""

    def run(code: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def counts():
    """Note how many inputs or faults of a kind were tried, and what happened: ``counts(kind, tried, outcomes)``.

    They are printed, and kept in the file that ``QSM_RECON_COUNTS`` names, of which ``python -m benchmarks.trust``
    makes the table of the documentation.
    """
    path = os.environ.get("QSM_RECON_COUNTS")

    def note(kind: str, tried: int, outcomes: dict[str, int]) -> None:
        assert sum(outcomes.values()) == tried, f"{kind}: {tried} tried, {outcomes}"
        print(f"{kind}: {tried} tried; " + ", ".join(f"{n} {what}" for what, n in outcomes.items()))  # noqa: T201
        if path:
            known = json.loads(Path(path).read_text("utf-8")) if Path(path).exists() else {}
            known[kind] = {"tried": tried, "outcomes": outcomes}
            Path(path).write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", "utf-8")

    return note
