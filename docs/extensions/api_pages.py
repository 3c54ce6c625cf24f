"""Write one page of the reference for every module of the package, so that none is left out."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.autodoc.mock import mock

import qsm_recon
from qsm_recon.backend.jit import Kernel

PACKAGE = Path(__file__).resolve().parents[2] / "qsm_recon"
BAR_OUTSIDE_CODE = re.compile(r"(``.*?``|`[^`]*`)|(?<!\\)\|")


def module_names() -> list[str]:
    """Names of all public modules, packages before what is in them."""
    paths = [path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*.py")]
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return sorted(name for name in names if not any(part.startswith("_") for part in name.split(".")))


def shortcuts() -> list[str]:
    """Lines that link the names which the package itself offers to where they are described."""
    lines = ["Names that can be imported from the package itself:", ""]
    for name, home in sorted(qsm_recon._HOME.items()):
        found = getattr(import_module(f"qsm_recon.{home}"), name)
        lines.append(f"- :py:obj:`{name} <{found.__module__}.{found.__qualname__}>`")
    return [*lines, ""]


def page(name: str, inside: list[str]) -> str:
    """Text of the page of a module, with links to the modules in it."""
    top = name == qsm_recon.__name__
    title = "All modules (API)" if top else name
    lines = [title, "=" * len(title), "", f".. automodule:: {name}", "", *(shortcuts() if top else [])]
    if inside:
        lines += [".. toctree::", "   :maxdepth: 1", "", *(f"   {child}" for child in inside), ""]
    return "\n".join(lines)


def write_pages(app: Sphinx) -> None:
    """Write all pages; one that has not changed is left alone, so that it is not built again."""
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    names = module_names()
    wanted = {folder / f"{name}.rst": page(name, [n for n in names if n.rpartition(".")[0] == name]) for name in names}
    for path in set(folder.glob("*.rst")) - set(wanted):
        path.unlink()
    for path, text in wanted.items():
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def show_functions(app: Sphinx) -> None:
    """Let autodoc see the functions that kernels are made of: it takes objects that only act as functions for data.

    Nothing is computed in a build.
    """
    for name in module_names():
        path = PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py")
        if not path.is_file() or "backend.jit import" not in path.read_text("utf-8"):
            continue
        with mock(app.config.autodoc_mock_imports):  # of which autodoc alone would know
            module = import_module(name)
        for key, value in list(vars(module).items()):
            if isinstance(value, Kernel):
                setattr(module, key, value.function)


def keep_bars(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Let the bars of absolute values and norms in docstrings be bars; to reStructuredText they are substitutions."""
    lines[:] = [BAR_OUTSIDE_CODE.sub(lambda found: found[1] or r"\|", line) for line in lines]


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect them to the build."""
    app.connect("builder-inited", write_pages)
    app.connect("builder-inited", show_functions)
    app.connect("autodoc-process-docstring", keep_bars)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
