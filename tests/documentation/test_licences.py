"""The page of licences names what the package requires, with the licences that the installed packages declare."""

import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
licences = pytest.importorskip("licences")
ROWS = dict(re.findall(r"^\| ([\w.-]+) \| (.+?) \|", licences.PAGE.read_text("utf-8"), re.MULTILINE))
PINNED = dict(re.findall(r'^([\w.-]+)==([\w.]+)(?:; python_version >= "3.11")?$',
                         (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE))  # fmt: skip


def test_every_requirement_is_on_the_page():
    required = licences.declared()
    assert required[""]
    assert set(required[""]) | set(required["cohort"]) <= set(ROWS)


@pytest.mark.parametrize("name", licences.declared()[""])
def test_the_licence_is_the_declared_one(name):
    package = licences.found(name)
    if package is None or PINNED.get(name) != version(name):
        pytest.skip("another version than the one the page was written with")
    assert ROWS[name] == licences.licence(package)
