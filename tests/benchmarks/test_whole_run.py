"""Whole commands of two builds: stages add up, failures are told."""

import json
from pathlib import Path

import pytest

from benchmarks.whole_run import compared, run_once, stages_table, whole_table
from qsm_recon.errors import ParameterError
from qsm_recon.io import save_image

ROOT = Path(__file__).resolve().parents[2]


def test_stages_add_up_to_the_whole():
    found = run_once(ROOT, ["--list"])
    assert sum(found["stages"].values()) == pytest.approx(found["cpu_s"], abs=1e-6)
    assert 0 < found["stages"]["imports"] < found["cpu_s"]
    assert "solve" not in found["stages"]
    assert found["peak_mib"] > 10


def test_a_build_beside_itself_gives_the_same_map(tmp_path):
    import numpy as np

    rng = np.random.default_rng(0)
    axes = np.ix_(*(np.linspace(-1.2, 1.2, n) for n in (24, 20, 22)))
    mask = np.asarray(sum(a * a for a in axes) < 1)
    field = np.where(mask, 0.02 * rng.standard_normal(mask.shape), 0).astype(np.float32)
    for name, image in (("field", field), ("mask", mask)):
        save_image(tmp_path / f"{name}.nii.gz", image, np.eye(4))
    words = ["--algo", "tkd", "--field", str(tmp_path / "field.nii.gz"), "--field-unit", "ppm",
             "--mask", str(tmp_path / "mask.nii.gz"), "--accept-background", "--quiet"]  # fmt: skip
    row = compared("tkd", words, {"old": ROOT, "new": ROOT}, tmp_path, 1)
    assert row["distance"] == 0
    assert row["new_stages_s"]["solve"] > 0
    assert row["new_outside_s"] == pytest.approx(row["new_cpu_s"] - row["new_stages_s"]["solve"])
    assert "| `tkd` |" in whole_table([row])
    assert "| solve |" in stages_table([row])


def test_a_build_that_fails_is_named():
    with pytest.raises(ParameterError, match="--algo nothing failed"):
        run_once(ROOT, ["--algo", "nothing"])


def test_the_page_has_the_stored_tables():
    rows = json.loads((ROOT / "benchmarks" / "results" / "whole_run.json").read_text("utf-8"))
    rows = rows["rows"] if isinstance(rows, dict) else rows
    page = (ROOT / "docs" / "inside" / "cost.md").read_text("utf-8")
    assert whole_table(rows) in page
    assert stages_table(rows) in page
