"""The bibliography, and what the command prints of it."""

import re

import pybtex.database
import pytest
from oracles.own import own_removals, own_solvers

from qsm_recon import run
from qsm_recon.citations import bibliography, bibtex, dois
from qsm_recon.errors import ParameterError
from qsm_recon.parameters import Method, parse_settings
from qsm_recon.solvers.registry import find_solver, make_solver

METHODS = {**own_solvers(), **own_removals()}
every_method = pytest.mark.parametrize("name", list(METHODS))

# "Liu et al., NeuroImage 59:2560-2568 (2012), doi 10.1016/…"
PAPER = re.compile(r"([\w ]+?)(?: et al\.| and [\w ]+)?, ([\w ]+?) (\d+):([\w-]+) \((\d{4})\), doi (\S+?)(?=;|$)")


def parsed(text):
    return pybtex.database.parse_string(text, "bibtex").entries


@pytest.fixture
def printed(capsys):
    """Run the command and return code, standard output and standard error."""

    def command(*arguments):
        code = run.main(arguments)
        return code, *capsys.readouterr()

    return command


def test_every_entry_can_be_read():
    entries = parsed("\n".join(bibliography().values()))
    assert len(entries) == len(bibliography()) >= 27
    for entry in entries.values():
        assert {"title", "journal", "year", "doi"} <= set(entry.fields)
        assert entry.persons["author"]
        assert ("volume" in entry.fields) == ("pages" in entry.fields)


@every_method
def test_entries_are_the_papers_of_the_citation(name):
    papers = PAPER.findall(METHODS[name].citation)
    assert len(papers) == METHODS[name].citation.count("doi ") > 0
    entries = list(parsed("\n".join(bibtex(METHODS[name]))).values())
    for (author, _, volume, pages, year, doi), entry in zip(papers, entries, strict=True):
        first = entry.persons["author"][0]
        assert entry.fields["doi"] == doi
        assert (entry.fields["volume"], entry.fields["pages"], entry.fields["year"]) == (
            volume,
            pages.replace("-", "--"),
            year,
        )
        assert author.strip() == " ".join([*first.prelast_names, *first.last_names])


@every_method
def test_command_prints_the_entries_of_a_method(name, printed):
    code, out, err = printed("--cite", name)
    assert (code, err) == (0, "")
    assert [entry.fields["doi"] for entry in parsed(out).values()] == list(dois(METHODS[name].citation))


def test_command_prints_those_of_algorithm_and_removal(printed):
    _, out, _ = printed("--algo", "fansi", "--background", "resharp", "--cite")
    assert list(parsed(out)) == ["milovic2018", "sun2014"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], ["milovic2018"]),
        (["fidelity=nonlinear"], ["milovic2018"]),
        (["regulariser=tgv"], ["milovic2018", "bredies2010"]),
        (["fidelity=l1"], ["milovic2018", "milovic2022"]),
        (["fidelity=huber"], ["milovic2018", "huber1964"]),
        (["harmonic_weight=150"], ["milovic2018", "milovic2019"]),
        (
            ["fidelity=nonlinear-l1", "regulariser=tgv", "harmonic_weight=150"],
            ["milovic2018", "milovic2022", "bredies2010", "milovic2019"],
        ),
    ],
)
def test_terms_that_were_chosen_are_cited(settings, expected, printed):
    """Whatever ``admm`` was put together from, it cited one paper; that named methods cite the same is below."""
    words = [word for text in settings for word in ("--set", text)]
    code, out, _ = printed("--algo", "admm", *words, "--background", "pdf", "--cite")
    assert code == 0
    assert list(parsed(out)) == [*expected, *parsed("\n".join(bibtex(METHODS["pdf"])))]
    solver = make_solver("admm", **parse_settings(find_solver("admm"), settings, "--set"))
    assert [entry.fields["doi"] for entry in parsed("\n".join(bibtex(solver))).values()] == list(dois(solver.cited()))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("tgv", {"regulariser": "tgv"}),
        ("wl1", {"fidelity": "l1"}),
        ("l1qsm", {"fidelity": "nonlinear-l1"}),
        ("wh-qsm", {"harmonic_weight": 150.0}),
    ],
)
def test_presets_and_their_composition_cite_the_same_papers(name, settings):
    composed = make_solver("admm", **settings).cited().split("; ")
    assert set(find_solver(name).citation.split("; ")) <= set(composed)


def test_a_parameter_that_is_none_is_told_where_papers_are_asked_for(printed):
    code, out, err = printed("--algo", "admm", "--set", "regulariser=tgvv", "--cite")
    assert (code, out) == (2, "")
    assert "did you mean 'tgv'" in err


def test_what_is_not_verified_is_said(printed):
    assert "not verified" in printed("--cite", "wl1l2")[1]
    assert "not verified" not in printed("--cite", "fansi")[1]


def test_unknown_name(printed):
    code, out, err = printed("--cite", "vsharpp")
    assert (code, out) == (2, "")
    assert "did you mean 'vsharp'" in err


def test_plug_in_brings_its_own_entries():
    class Mine(Method):
        name = "mine"
        citation = "in preparation"

    with pytest.raises(ParameterError, match=r"'mine' brings no BibTeX entry; its citation is: in preparation"):
        bibtex(Mine)
    Mine.bibtex = "@misc{mine, title = {Mine}}\n"
    assert list(parsed(bibtex(Mine)[0])) == ["mine"]


def test_identifiers_in_text():
    assert dois("A, doi 10.1002/mrm.1; B (doi: 10.1016/j.x.2011.082).") == ("10.1002/mrm.1", "10.1016/j.x.2011.082")
    assert find_solver("tv").citation.endswith(dois(find_solver("tv").citation)[-1])
