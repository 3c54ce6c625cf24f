"""What the documentation says of a method and gets from its declaration: facts, parameters, citation, as Markdown."""

from __future__ import annotations

from qsm_recon.background.registry import find_removal, removals
from qsm_recon.citations import DOI, bibtex
from qsm_recon.parameters import Method, Parameter
from qsm_recon.solvers.base import Solver
from qsm_recon.solvers.registry import find_solver, solvers


def method_markdown(name: str) -> str:
    """Everything that a declaration tells of the solver or background removal of a name."""
    method = find_removal(name) if name in removals() else find_solver(name)
    parts = ["**Use**", facts(method), "**Parameters**", parameter_table(method), "**Please cite**", citation(method)]
    return "\n\n".join(parts)


def facts(method: type[Method]) -> str:
    """What it takes, and how it is called."""
    if issubclass(method, Solver):
        main = method.main_parameter()
        lines = [
            f'- on the command line: `--algo {method.name}`; in Python: `make_solver("{method.name}")`',
            f"- field: {'local (background removed)' if method.expects_local_field else 'local, or total'}",
            f"- main parameter (`--regularisation`): `{main.name}`, {unit(main)}",
        ]
        if getattr(method, "needs_echoes", False):
            lines.append("- needs the echoes (magnitude and phase, or real and imaginary parts), not only a field map")
    else:
        lines = [
            f'- on the command line: `--background {method.name}`; in Python: `make_removal("{method.name}")`',
            "- a parameter is set by `--background-set NAME=VALUE`",
        ]
    return "\n".join([*lines, f"- class: {{py:class}}`{method.__module__}.{method.__qualname__}`"])


def parameter_table(method: type[Method]) -> str:
    """One row for each declared parameter, the main one first."""
    rows = ["| parameter | default | unit | accepted | what it is |", "|---|---|---|---|---|"]
    for declared in method.declared().values():
        name = f"**`{declared.name}`**" if declared.main else f"`{declared.name}`"
        cells = [name, declared.describe_default(), unit(declared), declared.describe_range(), method.help_of(declared)]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def unit(declared: Parameter) -> str:
    """Unit of a parameter; a dash where it has none."""
    return "–" if declared.unit == "1" else declared.unit


def citation(method: type[Method]) -> str:
    """The papers with links, and their BibTeX behind a fold."""
    linked = DOI.sub(lambda found: f"[{found[0]}](https://doi.org/{found[0]})", method.citation)
    entries = "\n\n".join(bibtex(method))
    fold = f":::{{dropdown}} BibTeX (`--cite {method.name}` prints it)\n```bibtex\n{entries}\n```\n:::"
    return f"{linked}\n\n{fold}"


def overview(kind: str) -> str:
    """Table of all solvers or removals with links to their pages.

    Parameters
    ----------
    kind
        ``algorithms`` or ``removals``.
    """
    if kind == "removals":
        rows = [f"| [`{name}`](#{name}) | {found.title} |" for name, found in removals().items()]
        return "\n".join(["| name | method |", "|---|---|", *rows])
    rows = []
    for name, found in solvers().items():
        main = found.main_parameter()
        field = "local" if found.expects_local_field else "local or total"
        rows.append(f"| [`{name}`]({name}.md) | {found.title} | {field} | `{main.name}`, {unit(main)} |")
    return "\n".join(["| name | method | field | main parameter |", "|---|---|---|---|", *rows])
