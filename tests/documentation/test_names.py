"""Code and command lines in documents name what is there; the commands are asked for their options."""

import re
from contextlib import suppress

import pytest
from documentation.names import PAGES, ROOT, command_module, commands, python_blocks, require_names
from oracles.own import own_removals, own_solvers

METHODS = {**own_solvers(), **own_removals()}
CODE = [(path, code) for path in PAGES for code in python_blocks(path)]
CALLS = sorted({
    (path.relative_to(ROOT).as_posix(), module, tuple(words)) for path in PAGES for module, words in commands(path)
})  # fmt: skip
COMMANDS = {"qsm_recon.learn": ("train", "show")}
OPTION = re.compile(r"^\[?(--[a-z][\w-]*)")


@pytest.mark.parametrize("code", [code for _, code in CODE], ids=[path.stem for path, _ in CODE])
def test_python_names_are_there(code):
    require_names(code)


def test_pages_have_commands():
    assert len(CALLS) > 100


@pytest.mark.parametrize("module", sorted({module for _, module, _ in CALLS}))
def test_command_is_there(module):
    assert callable(command_module(module).main)


@pytest.fixture(scope="module")
def told():
    """Help of each command and method, asked for once."""
    return {}


@pytest.mark.parametrize(("page", "module", "words"), CALLS, ids=[f"{page}:{module}" for page, module, _ in CALLS])
def test_options_are_known(page, module, words, told, capsys, monkeypatch):
    options = [found[1] for word in words if (found := OPTION.match(word))]
    method = re.search(r"--algo ([a-z][\w-]*)", " ".join(words))
    asked = ("--algo", method[1]) if method and method[1] in METHODS else ()
    if words and words[0] in COMMANDS.get(module, ()):
        asked = words[:1]
    key = (module, *asked)
    if key not in told:
        monkeypatch.setattr("sys.argv", [module, *asked, "--help"])
        with suppress(SystemExit):
            command_module(module).main()
        told[key] = capsys.readouterr().out
    help_text = told[key]
    assert "--help" in help_text
    assert [option for option in options if not re.search(rf"{option}\b", help_text)] == []
