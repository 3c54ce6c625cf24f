"""Execute notebooks in place, all or those that are named: ``python notebooks/execute.py [NOTEBOOK…]``.

The command that comes with nbclient would do, but it stores the time of every cell, and takes no option against it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
SECONDS_PER_CELL = 1800


def execute(path: Path) -> nbformat.NotebookNode:
    """Run a notebook from top to bottom and return it with its outputs.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell ends with an error.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=SECONDS_PER_CELL, record_timing=False, resources={"metadata": {"path": str(FOLDER)}}
    )
    return client.execute()


if __name__ == "__main__":
    for source in map(Path, sys.argv[1:]) if sys.argv[1:] else sorted(FOLDER.glob("*.ipynb")):
        print(source.name, flush=True)
        nbformat.write(execute(source), source)
