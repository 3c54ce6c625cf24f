"""Pages of methods: there is one for each, and what they say comes from the declarations."""

import re
import sys
from pathlib import Path

import pytest
from oracles.own import own_removals, own_solvers

from qsm_recon.citations import dois

DOCS = Path(__file__).resolve().parents[2] / "docs"
METHODS = {**own_solvers(), **own_removals()}
every_method = pytest.mark.parametrize("name", list(METHODS))


@pytest.fixture(scope="module")
def tables():
    """The module that writes what pages take from declarations; it needs no Sphinx."""
    sys.path.insert(0, str(DOCS / "extensions"))
    import method_tables

    yield method_tables
    sys.path.remove(str(DOCS / "extensions"))


def cells(row):
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


@every_method
def test_table_has_every_parameter(name, tables):
    method = METHODS[name]
    header, _, *rows = tables.parameter_table(method).splitlines()
    assert len(cells(header)) == 5
    assert len(rows) == len(method.declared())
    for row, declared in zip(rows, method.declared().values(), strict=True):
        word, default, unit, accepted, text = cells(row)
        assert word == (f"**`{declared.name}`**" if declared.main else f"`{declared.name}`")
        assert default == declared.describe_default()
        assert unit == ("–" if declared.unit == "1" else declared.unit)
        assert accepted == declared.describe_range()
        assert text.startswith(declared.help)


@every_method
def test_page_text_links_the_papers(name, tables):
    text = tables.method_markdown(name)
    for doi in dois(METHODS[name].citation):
        assert f"[{doi}](https://doi.org/{doi})" in text
        assert f"doi     = {{{doi}}}" in text


@pytest.mark.parametrize("name", list(own_solvers()))
def test_every_algorithm_has_a_page(name):
    page = (DOCS / "algorithms" / f"{name}.md").read_text("utf-8")
    assert page.startswith(f"# {name}: ")
    assert f"```{{qsm-method}} {name}\n```" in page
    assert "\n$$\n" in page
    assert "## When to use it" in page
    assert re.search(rf"^{name}$", (DOCS / "algorithms" / "index.md").read_text("utf-8"), re.MULTILINE)


def test_no_page_of_an_algorithm_that_is_gone():
    assert {path.stem for path in (DOCS / "algorithms").glob("*.md")} == {*own_solvers(), "index"}


@pytest.mark.parametrize("name", list(own_removals()))
def test_every_removal_has_a_section(name):
    page = (DOCS / "removals.md").read_text("utf-8")
    section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert f"```{{qsm-method}} {name}\n```" in section


def test_plug_in_of_the_how_to_runs():
    from qsm_recon.select.path import Path as Sweeps
    from qsm_recon.testing import check_solver
    from qsm_recon.testing.measurement import Measurement

    page = (DOCS / "howto" / "plugin.md").read_text("utf-8")
    code, terms = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    example = (DOCS.parent / "examples" / "huber_tv" / "huber_tv.py").read_text("utf-8")
    assert set(filter(None, map(str.strip, terms.splitlines()))) <= set(map(str.strip, example.splitlines()))
    space = {"__name__": "plugin"}
    exec(code, space)
    solver = space["Landweber"]
    check_solver(solver)
    sweeps = Sweeps(solver(iterations=100), Measurement().problem())
    assert sweeps.parameter == "regularisation_weight"
    strong, weak = sweeps.sweep([0.1, 0.001])
    assert strong.data_cost > weak.data_cost > 0
    assert 0 < strong.regularisation_cost < weak.regularisation_cost
    assert strong.settled
