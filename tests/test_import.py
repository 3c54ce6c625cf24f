"""What importing costs, and which room may import what."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "qsm_recon"
HEAVY = ("numba", "pyfftw", "matplotlib", "scipy", "nibabel")

# From the ground up: a module may import from its own floor and those below it.
FLOORS = [
    {"units", "errors", "version", "summary", "unfinished"},
    {"parameters", "citations"},
    {"backend"},
    {"operators"},
    {"problem", "result"},
    {"region"},
    {"io", "header"},
    {"field"},
    {"datasets"},
    {"metrics"},
    {"terms"},
    {"engines"},
    {"background"},
    {"solvers"},
    {"select"},
    {"report"},
]
ONLY_PLACE = {
    "matplotlib": ("report/",),
    "nibabel": ("io.py",),
    "pyfftw": ("backend/fft.py",),
    "numba": ("backend/",),
    "PIL": ("report/",),
    "distributed": ("cohort/",),
    "dask": ("cohort/",),
    "dask_jobqueue": ("cohort/scheduling.py",),
    "nipype": ("adapters/nipype.py",),
}
SOURCES = sorted(PACKAGE.rglob("*.py"))
every_source = pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(PACKAGE)) for path in SOURCES])


def floor(room):
    """Height of a room; everything that is not listed is a command, on the top floor."""
    return next((height for height, rooms in enumerate(FLOORS) if room in rooms), len(FLOORS))


def imported_modules(path):
    """Names of all modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import: write the package's name"
            yield node.module
            if node.module == "qsm_recon":
                yield from (f"qsm_recon.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    "module", ["qsm_recon", "qsm_recon.problem", "qsm_recon.solvers.registry", "qsm_recon.operators.grid"]
)
def test_import_is_light(module, run_python):
    code = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    loaded = run_python(code).split()
    assert "qsm_recon" in loaded
    assert not set(HEAVY) & set(loaded)


def test_there_is_something_to_check():
    assert {path.name for path in SOURCES} >= {"fft.py", "dipole.py", "admm.py", "registry.py"}


@every_source
def test_imports_point_down(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module in imported_modules(path):
        parts = module.split(".")
        if parts[0] == "qsm_recon" and len(parts) > 1:
            assert floor(parts[1]) <= floor(room), f"{room} imports {module}, which is on a floor above"


@every_source
def test_libraries_are_imported_in_their_only_place(path):
    place = path.relative_to(PACKAGE).as_posix()
    for module in imported_modules(path):
        allowed = ONLY_PLACE.get(module.partition(".")[0])
        assert allowed is None or place.startswith(allowed), f"{place} imports {module}; only {allowed} may"
