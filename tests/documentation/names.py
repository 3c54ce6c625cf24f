"""What documents use of the package: names in Python code, modules and options in command lines."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("qsm_recon", "benchmarks")
PAGES = sorted([ROOT / "README.md", *(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)])
COMMAND = re.compile(r"python -m ((?:qsm_recon|benchmarks)[\w.]*)((?:[^`#\n]|\\\n)*)")

QUOTED = re.compile(r"""(['"]).*?(?:\1|$)""")


def require_names(code: str) -> None:
    """Import what Python code imports of the package, and look up what it takes of modules.

    Raises
    ------
    AssertionError, ImportError
        If something is not there.
    """
    lines = (line for line in code.splitlines() if not line.startswith(("%", "!")))
    nodes = list(ast.walk(ast.parse("\n".join(lines))))
    found: dict[str, object] = {}
    for node in nodes:
        source = node.module if isinstance(node, ast.ImportFrom) else None
        if isinstance(node, ast.Import):
            source = node.names[0].name
        if source and source.partition(".")[0] in PACKAGES:
            exec(ast.unparse(node), found)
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = found.get(node.value.id)
            assert not isinstance(owner, ModuleType) or hasattr(owner, node.attr), ast.unparse(node)


def python_blocks(path: Path) -> list[str]:
    """Python code of a page."""
    return re.findall(r"^```(?:python|py)\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def commands(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Modules that a page calls, with the words after them but those in quotes; lines that go on are one."""
    text = path.read_text("utf-8").replace("\\\n", " ")
    for module, words in COMMAND.findall(text):
        yield module.rstrip("."), QUOTED.sub("", words).split()


def command_module(module: str) -> ModuleType:
    """What ``python -m`` would run."""
    found = importlib.import_module(module)
    return importlib.import_module(f"{module}.__main__") if hasattr(found, "__path__") else found
