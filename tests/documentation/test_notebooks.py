"""Notebooks: executed, small, and they still run."""

import contextlib
import io
import json
import re
import runpy
import sys
from pathlib import Path

import pytest
from documentation.names import require_names

from qsm_recon.errors import ParameterError
from qsm_recon.select.path import require_number

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def test_there_are_notebooks():
    assert [path.stem[0] for path in NOTEBOOKS] == list("123456")


@every_notebook
def test_executed_from_top_to_bottom_without_error(path):
    code = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [output for cell in code for output in cell["outputs"] if output["output_type"] == "error"]


@every_notebook
def test_small_and_of_no_machine(path):
    text = path.read_text("utf-8")
    assert len(text) < 300_000
    assert not re.search(r"/(work|root|home|tmp)/", text)


@every_notebook
def test_every_name_of_the_package_that_it_uses_is_there(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    require_names("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))


@pytest.mark.slow
@every_notebook
def test_runs(path):
    pytest.importorskip("nbclient")
    execute = runpy.run_path(str(FOLDER / "execute.py"))["execute"]
    code = [cell for cell in execute(path).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)


def test_the_challenge_that_is_discussed_is_the_one_that_is_stored(monkeypatch):
    """It reads the tables of the benchmarks, which are made again without it."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    monkeypatch.setattr(pyplot, "show", lambda: pyplot.close("all"))
    monkeypatch.chdir(FOLDER)
    monkeypatch.setattr(sys, "path", list(sys.path))
    cells = json.loads((FOLDER / "3_challenge.ipynb").read_text("utf-8"))["cells"]
    names: dict = {}
    with matplotlib.rc_context():
        for cell in (cell for cell in cells if cell["cell_type"] == "code"):
            shown = "".join("".join(output.get("text", "")) for output in cell["outputs"])
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec("".join(cell["source"]), names)
            assert printed.getvalue() == shown, "run make notebooks, and read what it says about the figures"


def test_the_own_solver_cannot_be_swept_as_its_notebook_says():
    """It said that ``--select auto`` has what it needs."""
    cells = json.loads((FOLDER / "5_own_solver.ipynb").read_text("utf-8"))["cells"]
    first, declared = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"][:2]
    names = {"__name__": "own"}
    exec(first, names)
    exec(declared, names)
    with pytest.raises(ParameterError, match="'iterations' of 'landweber' is not a real number"):
        require_number(names["Landweber"](), "iterations")
    assert "What it does not take is `--select`" in "".join(cells[-1]["source"])
