"""What importing costs, and which room may import what."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "qsm_recon"
sys.path.insert(0, str(ROOT / "tools"))
import check_house as house  # noqa: E402

HEAVY = ("numba", "pyfftw", "matplotlib", "scipy", "nibabel", "isal", "PIL", "contourpy", "dask", "torch")

SOURCES = house.sources()
every_source = pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(PACKAGE)) for path in SOURCES])


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


def test_transforms_and_kernels_bring_no_library_that_they_do_not_call(run_python):
    """Importing pyFFTW brings Dask and SciPy's transforms with it, numba SciPy's linear algebra: most of their time."""
    pytest.importorskip("pyfftw")
    pytest.importorskip("numba")
    code = """
import sys
import numpy as np
from qsm_recon.backend.transforms import fourier_transform
from qsm_recon.backend.jit import load_numba
transform = fourier_transform((8, 6, 4))
transform.forward(transform.empty_image(), transform.empty_spectrum())
numba = load_numba()
print(sorted({"dask", "scipy.fft", "scipy.fftpack", "scipy.linalg"} & set(sys.modules)))
import pyfftw
print(pyfftw.interfaces.numpy_fft.fft(np.ones(4)).real.tolist(), hasattr(pyfftw, "nothing"))
print(numba.njit(lambda a: np.dot(a, a))(2 * np.eye(3))[0, 0])
"""
    assert run_python(code).splitlines() == ["[]", "[4.0, 0.0, 0.0, 0.0] False", "4.0"]


def test_there_is_something_to_check():
    assert {path.name for path in SOURCES} >= {"fft.py", "dipole.py", "admm.py", "registry.py"}


@every_source
def test_imports_point_down(path):
    assert house.climbing(path) == []


@every_source
def test_libraries_are_imported_in_their_only_place(path):
    assert house.misplaced(path) == []


def test_no_modules_import_each_other():
    assert house.circles() == []
