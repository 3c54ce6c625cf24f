"""The whole site: it builds without a warning, and describes every public name."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "qsm_recon"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the site with warnings as errors."""
    pytest.importorskip("sphinx")
    folder = tmp_path_factory.mktemp("site")
    shutil.rmtree(ROOT / "docs" / "api", ignore_errors=True)  # as in a new clone, where nothing was written before
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "-b", "html"]
    environment = {name: value for name, value in os.environ.items() if name != "INTERSPHINX"}
    done = subprocess.run(
        [*command, ROOT / "docs", folder], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return folder


def public_names():
    """Functions, classes and their public methods of all public modules, with their modules."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = ".".join(parts).removesuffix(".__init__")
        if any(part.startswith("_") for part in module.split(".")):
            continue
        yield module
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                yield f"{module}.{node.name}"
                inside = node.body if isinstance(node, ast.ClassDef) else []
                for item in inside:
                    if isinstance(item, ast.FunctionDef) and not item.name.startswith("_"):
                        yield f"{module}.{node.name}.{item.name}"


def test_reference_is_complete(built):
    from sphinx.util.inventory import InventoryFile

    with (built / "objects.inv").open("rb") as stream:
        inventory = InventoryFile.load(stream, "", lambda base, uri: uri)
    described = {name for kind, entries in inventory.items() if kind.startswith("py:") for name in entries}
    assert [name for name in public_names() if name not in described] == []


def test_pages_need_no_network(built):
    for page in ("index.html", "algorithms/fansi.html"):
        text = (built / page).read_text("utf-8")
        assert 'src="http' not in text
        assert 'rel="stylesheet" href="http' not in text
