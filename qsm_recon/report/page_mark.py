"""How a page of a run is known, for what only has to find one: writing it takes far more."""

from __future__ import annotations

from html import escape

PAGE_NAME = "report.html"
GENERATOR = "qsm_recon: page of one run"
"""By which a page of ours is known."""


def is_run_page(text: str) -> bool:
    """Whether the beginning of a file is that of a page of ours."""
    return f'content="{escape(GENERATOR)}"' in text
