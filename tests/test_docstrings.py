"""Every public name says what it is."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "qsm_recon"


def public_names(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.AST]]:
    """Public functions and classes, and public methods of every class: a private class may be handed out, too."""
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        if not node.name.startswith("_"):
            yield prefix + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from public_names(node.body, f"{prefix}{node.name}.")


def test_every_public_name_has_a_docstring():
    found, missing = 0, []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ast.parse(path.read_text("utf-8"))
        names = [("module", module), *public_names(module.body, "")]
        found += len(names)
        missing += [f"{path.relative_to(PACKAGE)}: {name}" for name, node in names if not ast.get_docstring(node)]
    assert found > 1000
    assert missing == []
