"""What to cite: the bibliography that comes with the package, and the entries of a method."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from qsm_recon.errors import ParameterError
from qsm_recon.parameters import Method

DOI = re.compile(r"\b10\.\d{4,}/[^\s;,\"{}]+[^\s;,.)\"{}]")
"""A digital object identifier in a line of text."""


def dois(text: str) -> tuple[str, ...]:
    """Return the digital object identifiers in a text, in order."""
    return tuple(DOI.findall(text))


@cache
def bibliography() -> dict[str, str]:
    """Return the BibTeX entries of ``references.bib`` by digital object identifier, without the comments."""
    text = (files("qsm_recon") / "references.bib").read_text("utf-8")
    entries = re.findall(r"^@\w+\{.*?^\}", text, flags=re.MULTILINE | re.DOTALL)
    return {dois(entry)[0]: entry for entry in entries}


def bibtex(method: Method | type[Method]) -> list[str]:
    """Return the BibTeX entries of the papers that a method names.

    Parameters
    ----------
    method
        A solver or background removal, or the class of one, which names those that hold whatever its parameters are.
        One of another package brings its entries in ``bibtex``.

    Raises
    ------
    ParameterError
        If there is none.
    """
    known = bibliography()
    text = method.cited() if isinstance(method, Method) else method.citation
    entries = [known[doi] for doi in dois(text) if doi in known]
    if method.bibtex:
        entries.append(method.bibtex.strip())
    if not entries:
        raise ParameterError(
            f"'{method.name}' brings no BibTeX entry; its citation is: {method.citation} "
            "(a plug-in gives its entries in the class variable bibtex)"
        )
    return entries
