"""Fixtures that many tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Folder with reference numbers and real data; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the folder with reference data is not here")
    return SHARED


@pytest.fixture(scope="session")
def small_case(shared_folder):
    """Inputs of the toolboxes' small case, float64."""
    path = shared_folder / "reference" / "small_case_inputs.npz"
    if not path.exists():
        pytest.skip("no small reference case")
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}
