"""What importing costs, and which room may import what."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "qsm_recon"
HEAVY = ("numba", "pyfftw", "matplotlib", "scipy", "nibabel", "torch")

# From the ground up: a module may import from its own floor and those below it.
FLOORS = [
    {"units", "errors", "version", "summary", "unfinished"},
    {"parameters", "citations"},
    {"plugins"},
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
    {"learned"},
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
    "torch": ("learned/",),
    "safetensors": ("learned/",),
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


def test_every_public_name_stays_what_it_is_whatever_is_imported(run_python):
    """Importing a module sets its name in the package: ``qsm_recon.evaluate``, the command, hid the function."""
    code = """
import pkgutil, qsm_recon
before = {name: getattr(qsm_recon, name) for name in qsm_recon.__all__}
for module in pkgutil.walk_packages(qsm_recon.__path__, "qsm_recon."):
    if module.name.count(".") == 1:
        __import__(module.name)
changed = [name for name, value in before.items() if getattr(qsm_recon, name) is not value]
from qsm_recon import evaluate
from qsm_recon.evaluate import main
print(changed, callable(evaluate), callable(main), evaluate is qsm_recon.evaluate)
"""
    assert run_python(code) == "[] True True True\n"


@pytest.mark.parametrize("arguments", [["run", "--list"], ["run", "--help"], ["run", "--algo", "medi", "--help"],
                                       ["lcurve", "--help"], ["evaluate", "--help"], ["phantom", "--help"],
                                       ["learn", "--help"]],
                         ids=" ".join)  # fmt: skip
def test_saying_what_there_is_imports_nothing_heavy(arguments, run_python):
    code = (
        f"import sys; sys.argv[1:] = {arguments}; from qsm_recon.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    assert not set(HEAVY) & set(run_python(code).splitlines()[-1].split())


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
