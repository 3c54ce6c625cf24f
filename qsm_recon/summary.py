"""How objects show themselves: one line in a terminal, a small table in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np
from numpy.typing import NDArray


def one_line(kind: str, name: str, facts: list[str]) -> str:
    """Return ``<Kind 'name': fact, fact>``."""
    return f"<{kind} '{name}': {', '.join(facts)}>"


def sizes(numbers: tuple[float, ...]) -> str:
    """Write sizes as 164×205×205."""
    return "×".join(f"{number:g}" for number in numbers)


def spread(values: NDArray[np.floating]) -> str:
    """Describe values by percentiles, which single voxels do not move; NaN shows."""
    low, high = np.percentile(values, (1, 99)) if values.size else (np.nan, np.nan)
    return f"{low:.3g} to {high:.3g}"


def html_table(title: str, rows: Mapping[str, str]) -> str:
    """Return a table with a title and a row per fact; all text is escaped."""
    cells = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(text)}</td></tr>'
        for name, text in rows.items()
    )
    return f'<table><caption style="text-align:left"><b>{escape(title)}</b></caption><tbody>{cells}</tbody></table>'
