"""A method as QSM-CI calls it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from qsm_recon.adapters import qsmci
from qsm_recon.io import save_image
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.run import main as run_main

PARAMETERS = {"TE": [0.02], "B0": 7.0, "B0_dir": [0.0, 0.0, 1.0], "voxel_size": [1.0, 1.0, 1.0]}


@pytest.fixture
def contract(tmp_path):
    """Inputs of the stage ``dipole``: a ball with an inclusion."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in (20, 22, 18)], indexing="ij")
    mask = x**2 + y**2 + z**2 < 0.8
    chi = np.where((x - 0.2) ** 2 + y**2 + z**2 < 0.06, 0.15, 0).astype(np.float32)
    grid = Grid.from_affine(mask.shape, np.eye(4))
    folder = tmp_path / "input"
    save_image(folder / "localfield.nii.gz", np.where(mask, DipoleOperator(grid).forward(chi), 0), np.eye(4))
    save_image(folder / "mask.nii.gz", mask, np.eye(4))
    (folder / "params.json").write_text(json.dumps(PARAMETERS))
    return folder


def test_map_is_that_of_the_command(contract, tmp_path):
    (tmp_path / "out").mkdir()
    assert qsmci.main([str(contract), str(tmp_path / "out"), "--algo", "tkd", "--quiet"]) == 0
    assert run_main(["--algo", "tkd", "--dataset", f"qsmci:{contract}", "--out", str(tmp_path / "run"), "--quiet"]) == 0
    found, expected = (nibabel.load(tmp_path / path) for path in ("out/chimap.nii.gz", "run/chi.nii.gz"))
    np.testing.assert_array_equal(found.get_fdata(), expected.get_fdata())

    (contract / "config.json").write_text(json.dumps({"threshold": 0.4, "kernel": "discrete"}))
    assert qsmci.main([str(contract), str(tmp_path / "other"), "--algo", "tkd", "--quiet"]) == 0
    assert np.ptp(nibabel.load(tmp_path / "other/chimap.nii.gz").get_fdata()) < np.ptp(found.get_fdata())


def test_bad_input_writes_nothing(contract, tmp_path, capsys):
    out = tmp_path / "out"
    (contract / "config.json").write_text(json.dumps({"treshold": 0.4}))
    assert qsmci.main([str(contract), str(out), "--algo", "tkd"]) == 2
    assert "no parameter 'treshold'; did you mean 'threshold'" in capsys.readouterr().err
    assert qsmci.main([]) == 2
    assert qsmci.main([str(tmp_path / "absent"), str(out)]) == 2
    assert not out.exists()


def test_submission_runs_under_the_contract_s_own_program(contract, tmp_path):
    """``qsm-ci run --runner local`` reads the manifest, stages the inputs and calls ``run.sh``."""
    pytest.importorskip("qsm_ci")
    folder = tmp_path / "algorithms" / "tkd"
    assert qsmci.main(["--submission", str(folder), "--algo", "tkd"]) == 0
    source = Path(qsmci.__file__).resolve().parents[2]
    done = subprocess.run(
        [Path(sys.executable).with_name("qsm-ci"), "run", folder, "--runner", "local",
         "--localfield", contract / "localfield.nii.gz", "--mask", contract / "mask.nii.gz",
         "--params", contract / "params.json", "--set", "threshold=0.3", "-o", tmp_path / "chi.nii.gz"],
        env={**os.environ, "QSM_RECON_PYTHON": sys.executable, "PYTHONPATH": str(source)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (contract / "config.json").write_text('{"threshold": 0.3}')
    assert qsmci.main([str(contract), str(tmp_path / "own"), "--algo", "tkd", "--quiet"]) == 0
    found, expected = (nibabel.load(tmp_path / path) for path in ("chi.nii.gz", "own/chimap.nii.gz"))
    # Two processes plan their transforms by themselves: equal to rounding.
    np.testing.assert_allclose(found.get_fdata(), expected.get_fdata(), rtol=0, atol=1e-7)
