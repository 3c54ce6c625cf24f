"""The interface for nipype's workflows."""

import json
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from qsm_recon.io import save_image
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid

os.environ.setdefault("NIPYPE_NO_ET", "1")  # or else it asks the network for its newest version
pytest.importorskip("nipype", exc_type=ImportError)


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in (20, 22, 18)], indexing="ij")
    mask = x**2 + y**2 + z**2 < 0.8
    chi = np.where((x - 0.2) ** 2 + y**2 + z**2 < 0.06, 0.15, 0).astype(np.float32)
    field = DipoleOperator(Grid.from_affine(mask.shape, np.eye(4))).forward(chi)
    save_image("field.nii.gz", np.where(mask, field, 0), np.eye(4))
    save_image("mask.nii.gz", mask, np.eye(4))
    return {"field": str(tmp_path / "field.nii.gz"), "field_unit": "ppm", "mask": str(tmp_path / "mask.nii.gz")}


def test_it_runs_the_command_and_names_its_files(inputs):
    from qsm_recon.adapters.nipype import Reconstruct

    result = Reconstruct(algorithm="tkd", parameters={"threshold": 0.3}, threads=1, **inputs).run()
    report = json.loads(Path(result.outputs.report).read_text())
    assert report["algorithm"]["parameters"]["threshold"]["value"] == 0.3
    assert report["run"]["threads"] == 1
    assert nibabel.load(result.outputs.susceptibility).shape == (20, 22, 18)
    assert Path(result.outputs.figure).is_file()


def test_command_line_and_contradictions(inputs):
    from qsm_recon.adapters.nipype import Reconstruct

    interface = Reconstruct(
        algorithm="fansi", dataset="bids:data", background="vsharp", two_pass=True, regularisation=1e-4,
        background_parameters={"largest_radius": 8, "deconvolution": "truncated"}, out_folder="x",
    )  # fmt: skip
    words = interface.cmdline.split()
    assert words[1:3] == ["-m", "qsm_recon.run"]
    for option, value in (("--algo", "fansi"), ("--dataset", "bids:data"), ("--background", "vsharp"), ("--out", "x")):
        assert words[words.index(option) + 1] == value
    assert float(words[words.index("--regularisation") + 1]) == 1e-4
    assert words.count("--background-set") == 2
    assert "largest_radius=8" in words
    assert "--two-pass" in words
    with pytest.raises(OSError, match="mutually exclusive"):
        Reconstruct(dataset="bids:data", **inputs).cmdline  # noqa: B018


def test_every_option_of_the_command_has_a_trait():
    from qsm_recon.adapters.nipype import Reconstruct
    from qsm_recon.commands.options import build_parser

    traits = Reconstruct().inputs.traits(argstr=lambda text: str(text).startswith("--"))
    found = {trait.argstr.split()[0].partition("=")[0]: (name, trait) for name, trait in traits.items()}
    says_only = {"list", "help", "cite", "version"}
    actions = {action.dest: action for action in build_parser()._actions if action.dest not in says_only}
    assert set(found) == {f"--{name.replace('_', '-')}" for name in actions}
    longer = {"algo": "algorithm", "set": "parameters", "background_set": "background_parameters", "out": "out_folder"}
    for dest, action in actions.items():
        name, trait = found[f"--{dest.replace('_', '-')}"]
        assert name == longer.get(dest, dest)
        if action.choices:
            assert set(trait.handler.values) == set(action.choices)


def test_options_are_given_to_the_command_as_it_takes_them(inputs):
    from qsm_recon.adapters.nipype import Reconstruct
    from qsm_recon.commands.options import build_parser

    image = inputs["mask"]
    interface = Reconstruct(
        real=[image, image], imaginary=[image, image], weight=image, te=[0.004, 0.012], truth=image, labels=image,
        phase_unit="-4096:4094", phase_sign="negative", bipolar="no", field_estimate="difference",
        b0_direction=(-1e-17, -0.6, 0.8), accept_range=True, accept_background=True, device="cuda:1",
        memory_limit=2.5, seed=3, no_cache=True, keep_stages=True, html=True,
    )  # fmt: skip
    options = build_parser().parse_args(interface.cmdline.split()[3:])
    assert options.real == options.imaginary == [Path(image), Path(image)]
    assert options.weight == options.truth == options.labels == Path(image)
    assert options.b0_direction == pytest.approx([0, -0.6, 0.8], abs=1e-12)
    expected = {
        "phase_unit": "-4096:4094", "phase_sign": "negative", "bipolar": "no", "field_estimate": "difference",
        "accept_range": True, "accept_background": True, "device": "cuda:1", "memory_limit": 2.5, "seed": 3,
        "no_cache": True, "keep_stages": True, "html": True,
    }  # fmt: skip
    assert {name: getattr(options, name) for name in expected} == expected
    with pytest.raises(ValueError, match="requires a value for input 'imaginary'"):
        Reconstruct(real=[image]).cmdline  # noqa: B018


def test_direction_and_page_reach_the_run(inputs):
    from qsm_recon.adapters.nipype import Reconstruct

    result = Reconstruct(
        algorithm="tkd", b0_direction=(0.0, -0.6, 0.8), html=True, accept_background=True, **inputs
    ).run()
    report = json.loads(Path(result.outputs.report).read_text())
    assert report["geometry"]["b0_direction_voxel_axes"] == pytest.approx([0, -0.6, 0.8])
    assert "<html" in Path(result.outputs.page).read_text("utf-8")
