"""Benchmarks for airspeed velocity: each can be run, and none is missing."""

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.asv.solvers import FAMILIES
from qsm_recon.backend.threads import set_thread_count, thread_count
from qsm_recon.solvers.registry import solvers

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = json.loads((ROOT / "asv.conf.json").read_text())
MODULES = ("operators", "engines", "solvers")


def benchmarks_of(module):
    """Every function that asv times, with its class and its parameters."""
    for _, group in inspect.getmembers(importlib.import_module(f"benchmarks.asv.{module}"), inspect.isclass):
        names = [name for name in vars(group) if name.startswith(("time_", "peakmem_"))]
        for name in names:
            for parameter in group.params:
                yield pytest.param(group, name, parameter, id=f"{module}.{group.__name__}.{name}({parameter})")


def first_of_each(module):
    seen = set()
    for one in benchmarks_of(module):
        group, name, _ = one.values
        if (group, name) not in seen:
            seen.add((group, name))
            yield one


def run_once(group, name, parameter):
    before = thread_count()
    try:
        benchmark = group()
        benchmark.setup(parameter)
        getattr(benchmark, name)(parameter)
    except NotImplementedError as left_out:
        pytest.skip(f"{parameter}: {left_out}")
    finally:
        set_thread_count(before)


@pytest.mark.parametrize(("group", "name", "parameter"), [one for m in MODULES for one in first_of_each(m)])
def test_every_function_runs(group, name, parameter):
    run_once(group, name, parameter)


@pytest.mark.slow
@pytest.mark.parametrize(("group", "name", "parameter"), [one for m in MODULES for one in benchmarks_of(m)])
def test_every_function_runs_with_every_parameter(group, name, parameter):
    run_once(group, name, parameter)


def test_the_configuration_names_what_is_there():
    assert (ROOT / CONFIGURATION["benchmark_dir"] / "__init__.py").is_file()
    for folder in ("env_dir", "results_dir", "html_dir"):
        assert CONFIGURATION[folder].startswith("build/")  # which git does not see
    assert CONFIGURATION["project"] == "qsm_recon"


def test_every_solver_of_the_package_is_timed():
    ours = {name for name, method in solvers().items() if method.__module__.startswith("qsm_recon.")}
    assert set(FAMILIES) == ours
    for module in MODULES:
        kinds = {one.values[1].partition("_")[0] for one in benchmarks_of(module)}
        assert kinds == {"time", "peakmem"}


def test_files_of_asv_import_nothing_of_the_other_benchmarks():
    """Asv runs them beside an installed package, where there are none."""
    for path in (ROOT / CONFIGURATION["benchmark_dir"]).glob("*.py"):
        assert "from benchmarks" not in path.read_text()
        assert "import benchmarks" not in path.read_text()


@pytest.mark.slow
def test_asv_itself_finds_them():
    pytest.importorskip("asv")
    command = [sys.executable, "-m", "asv", "check", "--python=same"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
