"""The examples run, and the package that brings terms is installed beside ours and keeps every option."""

import ast
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PLUGIN = EXAMPLES / "huber_tv"

tomllib = pytest.importorskip("tomllib", reason="comes with Python 3.11")


@pytest.fixture
def run_with_plugin(tmp_path, run_python):
    """Run code where the package is installed: its modules, and the entry points that it declares."""
    declared = tomllib.loads((PLUGIN / "pyproject.toml").read_text("utf-8"))["project"]
    metadata = tmp_path / "qsm_huber_tv-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {declared['name']}\nVersion: 1.0\n")
    lines = []
    for group, entries in declared["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    return lambda code: run_python(code, PYTHONPATH=f"{tmp_path}:{PLUGIN}")


def test_the_arrays_example_prints_errors_that_fall(run_python):
    lines = run_python((EXAMPLES / "arrays.py").read_text("utf-8")).splitlines()
    errors = {line.split()[0]: float(line.split()[2]) for line in lines}
    assert list(errors) == ["tkd", "tv", "fansi"]
    assert errors["tv"] < 0.5 * errors["tkd"]


def test_a_method_with_a_term_of_its_own_takes_thirty_lines():
    """Statements without imports and docstrings."""
    tree = ast.parse((PLUGIN / "huber_tv.py").read_text("utf-8"))
    lines = set()
    for node in ast.walk(tree):
        document = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and not isinstance(node, ast.Import | ast.ImportFrom) and not document:
            lines.add(node.lineno)
    assert len(lines) <= 30


PARTS = """
import numpy as np
from qsm_recon import make_solver
from qsm_recon.testing import check_solver, check_term
from qsm_recon.testing.measurement import Measurement
from qsm_recon.solvers.registry import find_solver
from qsm_recon.terms.registry import find_fidelity, find_regulariser

check_term(find_fidelity("own-huber")(0.1))
check_term(find_regulariser("rounded-tv")(0.05))
problem = Measurement().problem()
own, ours, plain = (make_solver(name, **given).solve(problem) for name, given in (
    ("huber-tv", {}), ("admm", {"fidelity": "huber"}), ("tv", {})))
same = np.array_equal(own.susceptibility_ppm, ours.susceptibility_ppm)
print(same, own.parameters["knee"] == ours.parameters["knee"])
print(np.array_equal(own.susceptibility_ppm, plain.susceptibility_ppm))
print(sorted(set(make_solver("tv").parameters()) - set(find_solver("huber-tv").declared())))
noisy = Measurement().problem(field_noise_ppm=np.full(problem.grid.shape, 0.001, np.float32))
print(find_solver("huber-tv")().series(problem).keeps_state, find_solver("huber-tv")().noise_fidelity(noisy) > 0)
both = make_solver("admm", fidelity="own-huber", regulariser="rounded-tv").solve(problem)
print(both.converged, np.linalg.norm(both.susceptibility_ppm - own.susceptibility_ppm)
      < 0.2 * np.linalg.norm(own.susceptibility_ppm))
"""


def test_terms_of_another_package_keep_every_option(run_with_plugin):
    same, other, missing, kept, both = run_with_plugin(PARTS).splitlines()
    assert same == "True True"  # as the huber fidelity of this package
    assert other == "False"
    assert missing == "[]"  # no parameter of tv is lost
    assert kept == "True True"  # a sweep goes on from its whole state; the noise level is known
    assert both == "True True"


@pytest.mark.slow
def test_a_solver_of_another_package_obeys_the_laws(run_with_plugin):
    code = (
        "from qsm_recon.testing import check_solver\nfrom huber_tv import HuberTV\ncheck_solver(HuberTV)\nprint('ok')"
    )
    assert run_with_plugin(code) == "ok\n"


def test_terms_of_another_package_are_choices_of_the_command(run_with_plugin):
    command = "import sys; sys.argv[1:] = {}; from qsm_recon.run import main\nprint(main())"
    listed = run_with_plugin(command.format(["--list"]))
    assert "huber-tv" in listed
    described = run_with_plugin(
        "from qsm_recon.solvers.registry import find_solver\n"
        "print(*(find_solver('admm').declared()[name].describe_range() for name in ('fidelity', 'regulariser')))"
    )
    assert "own-huber" in described
    assert "rounded-tv" in described
