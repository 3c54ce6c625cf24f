"""The network, its file of weights, and the editing of weights: known answers on tiny grids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from qsm_recon.errors import DataError, MissingDependencyError, ParameterError, ResourceError
from qsm_recon.learned import weights as files
from qsm_recon.learned.inputs import CHANNELS, prepare
from qsm_recon.learned.network import KNEE, MULTIPLE, WIDTHS, shapes
from qsm_recon.learned.weights import SHIPPED
from qsm_recon.operators.dipole import DipoleOperator

from .conftest import first_map, little_head

BASE, MASK = CHANNELS.index("base"), CHANNELS.index("mask")
LARGEST_BYTES = 8_000_000


def test_the_file_that_comes_with_the_package_is_small_and_holds_numbers_only():
    """The form of safetensors: a length, that many bytes of JSON, then numbers up to the end; nothing can be run."""
    content = SHIPPED.read_bytes()
    assert len(content) <= LARGEST_BYTES
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    facts = json.loads(header.pop("__metadata__")["facts"])
    ends = [entry["data_offsets"][1] for entry in header.values()]
    assert max(ends) == len(content) - 8 - length
    assert {entry["dtype"] for entry in header.values()} == {"F16"}
    assert {name: tuple(entry["shape"]) for name, entry in header.items()} == shapes(tuple(facts["widths"]))
    assert 2 not in facts["heads"]
    assert not set(facts["heads"]) & set(facts["held_out"])
    assert b"pickle" not in content[:length]


def test_no_other_weights_are_in_the_package():
    package = Path(files.__file__).parents[1]
    kinds = {".pt", ".pth", ".ckpt", ".bin", ".pkl", ".onnx", ".h5"}
    assert not [path for path in package.rglob("*") if path.suffix in kinds]
    assert [path.name for path in package.rglob("*.safetensors")] == [SHIPPED.name]


def test_without_torch_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'qsm_recon\[torch\]'"):
        files.require_torch()
    with pytest.raises(MissingDependencyError, match="torch and safetensors"):
        files.load_weights()


@pytest.fixture(scope="module")
def torch():
    pytest.importorskip("safetensors", reason="needs the extra qsm_recon[torch]")
    return pytest.importorskip("torch", reason="needs the extra qsm_recon[torch]")


@pytest.fixture(scope="module")
def drawn(torch):
    """Weights none of which is zero, small enough for the result to be near the base."""
    from qsm_recon.learned.network import initial_weights

    draw = torch.Generator().manual_seed(3)
    return {
        name: value + 0.01 * torch.randn(value.shape, generator=draw)
        for name, value in initial_weights(0, (4, 6, 8, 8)).items()
    }


# ---- the network ----


def test_a_network_begins_as_the_map_it_corrects(torch):
    from qsm_recon.learned.network import correct, initial_weights

    channels = torch.randn(1, len(CHANNELS), 16, 8, 24)
    channels[:, MASK] = (channels[:, MASK] > 0).float()
    found = correct(initial_weights(0), channels)
    assert torch.equal(found, channels[:, BASE] * channels[:, MASK])
    assert {name: tuple(value.shape) for name, value in initial_weights(0).items()} == shapes()
    assert len(WIDTHS) == 4
    assert 2 ** (len(WIDTHS) - 1) == MULTIPLE


def test_a_one_layer_network_has_a_known_answer(torch, drawn):
    """All but the entry and the exit zero: a convolution, a rectifier and another one."""
    from qsm_recon.learned.network import SLOPE, correct

    weights = {name: torch.zeros_like(value) for name, value in drawn.items()}
    weights["enter.weight"][0, 0, 1, 1, 1] = 2.0
    weights["leave.weight"][0, 0, 1, 1, 2] = 0.5
    channels = torch.zeros(1, len(CHANNELS), 8, 8, 8)
    channels[:, MASK] = 1
    channels[0, 0, 3, 4, 5], channels[0, 0, 5, 4, 5] = 1.0, -1.0
    found = correct(weights, channels)[0]
    entered = 2 * KNEE * np.arcsinh(1 / KNEE)
    assert float(found[3, 4, 4]) == pytest.approx(0.5 * entered, rel=1e-5)
    assert float(found[5, 4, 4]) == pytest.approx(-0.5 * SLOPE * entered, rel=1e-5)
    assert int((found != 0).sum()) == 2
    channels[:, BASE] = 3 * KNEE
    assert float(correct(weights, channels)[0, 3, 4, 4]) == pytest.approx(3 * KNEE + 10**0.5 * 0.5 * entered, rel=1e-5)


def test_a_voxel_does_not_feel_what_is_out_of_reach(torch, drawn):
    from qsm_recon.learned.network import REACH, correct

    n = 2 * (REACH + 12)
    n += -n % MULTIPLE
    channels = torch.zeros(1, len(CHANNELS), n, 8, 8)
    channels[:, MASK] = 1
    other = channels.clone()
    other[0, 0, 0] = 5.0
    changed = (correct(drawn, channels) != correct(drawn, other))[0].any(dim=2).any(dim=1)
    last = int(changed.nonzero().max())
    assert 8 < last <= REACH


def test_sizes_that_are_no_multiples_are_filled_up(torch, drawn):
    from qsm_recon.learned.device import arithmetic
    from qsm_recon.learned.prediction import predict

    how = arithmetic("cpu", "single")
    channels = np.random.default_rng(0).normal(size=(len(CHANNELS), 13, 9, 16)).astype(np.float32)
    channels[MASK] = 1
    found = predict(drawn, channels, how)
    assert found.shape == (13, 9, 16)
    filled = np.zeros((len(CHANNELS), 16, 16, 16), np.float32)
    filled[:, :13, :9] = channels
    assert np.allclose(predict(drawn, filled, how)[:13, :9], found, atol=1e-5)


def test_bfloat16_is_near_single_precision(torch, drawn):
    from qsm_recon.learned.device import arithmetic
    from qsm_recon.learned.prediction import predict

    one = little_head(11)
    channels = prepare(one.field_ppm, first_map(one), one.mask, one.grid).channels
    maps = [predict(drawn, channels, arithmetic("cpu", precision)) for precision in ("single", "bfloat16")]
    assert 0 < np.linalg.norm(maps[0] - maps[1]) < 0.01 * np.linalg.norm(maps[0])


def test_what_cannot_be_had_is_refused(torch):
    from qsm_recon.learned.device import arithmetic

    with pytest.raises(ParameterError, match="device 'gpu' is unknown"):
        arithmetic("gpu")
    with pytest.raises(ParameterError, match="precision 'half' is unknown"):
        arithmetic("cpu", "half")
    if not torch.cuda.is_available():
        with pytest.raises(ResourceError, match="no GPU here"):
            arithmetic("cuda")
        assert arithmetic("auto", "single").device == "cpu"


# ---- files ----


def test_weights_come_back_from_their_file(torch, drawn, tmp_path):
    path = tmp_path / "w.safetensors"
    files.save_weights(path, drawn, {"step": 7, "widths": [4, 6, 8, 8]})
    found, facts = files.load_weights(path)
    assert facts["step"] == 7
    assert all(torch.allclose(found[name], value, atol=1e-3, rtol=1e-3) for name, value in drawn.items())
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert files.facts_of(path) == facts


def test_broken_and_foreign_files_are_clear_errors(torch, drawn, tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "w.safetensors"
    with pytest.raises(DataError, match="no such file"):
        files.load_weights(path)
    path.write_bytes(SHIPPED.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be read as safetensors"):
        files.load_weights(path)
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(DataError, match="cannot be read as safetensors"):
        files.load_weights(path)
    save_file({"weight": torch.zeros(3)}, path, {"format": "pt"})
    with pytest.raises(DataError, match="expected a file of 'qsm_recon learned inversion 1', found 'pt'"):
        files.load_weights(path)
    save_file({"weight": torch.zeros(3)}, path, {"format": files.FORMAT, "facts": "{"})
    with pytest.raises(DataError, match="what it says of its training"):
        files.load_weights(path)
    fewer = dict(list(drawn.items())[1:])
    files.save_weights(path, fewer, {"widths": [4, 6, 8, 8]})
    with pytest.raises(DataError, match=r"those of another network: .* has shape None"):
        files.load_weights(path)
    files.save_weights(path, {**drawn, "leave.bias": torch.full((1,), torch.nan)}, {"widths": [4, 6, 8, 8]})
    with pytest.raises(DataError, match=r"'leave.bias' holds values that are not finite"):
        files.load_weights(path)


# ---- editing ----


@pytest.fixture(scope="module")
def scan(torch):
    from qsm_recon.learned.editing import Scan

    one = little_head(12)
    inputs = prepare(one.field_ppm, first_map(one), one.mask, one.grid)
    return inputs, Scan(one.field_ppm, one.mask.astype(np.float32), 20.0), one


def edited(scan, drawn, report=lambda _n, _v: True, **settings):
    from qsm_recon.learned.device import arithmetic
    from qsm_recon.learned.editing import EditSettings, edit

    return edit(drawn, scan[0], scan[1], EditSettings(**settings), arithmetic("cpu", "single"), report)


def test_the_field_of_a_map_is_that_of_the_dipole_operator(torch, scan):
    from qsm_recon.learned.device import arithmetic
    from qsm_recon.learned.editing import _Model

    inputs, data, one = scan
    found = _Model(inputs, data, arithmetic("cpu", "single")).forward(torch.from_numpy(one.susceptibility_ppm))
    expected = inputs.operator.forward(one.susceptibility_ppm)
    assert np.allclose(found.numpy(), expected, atol=1e-6)
    assert isinstance(inputs.operator, DipoleOperator)


@pytest.mark.parametrize("nonlinear", [True, False])
def test_the_data_term_of_a_map_is_what_it_is_said_to_be(torch, scan, nonlinear):
    """With constants of field and susceptibility that fit best: here found by least squares in double precision."""
    from dataclasses import replace

    from qsm_recon.learned.device import arithmetic
    from qsm_recon.learned.editing import _Model

    inputs, data, one = scan
    weight = one.mask * np.random.default_rng(1).uniform(0.5, 1.5, one.mask.shape).astype(np.float32)
    data = replace(data, nonlinear=nonlinear, weight=weight, field_ppm=data.field_ppm + 0.02 * one.mask)
    model = _Model(inputs, data, arithmetic("cpu", "single"))
    unit = np.float32(inputs.scale_ppm)
    chi, fitted, cost = model.cost(torch.from_numpy(one.susceptibility_ppm / unit))
    level = inputs.operator.forward(one.mask.astype(np.float32)).astype(float)
    residual = data.field_ppm - inputs.operator.forward(one.susceptibility_ppm).astype(float)
    columns = np.stack([weight[one.mask] * image[one.mask] for image in (np.ones(level.shape), level)], axis=1)
    best, *_ = np.linalg.lstsq(columns, weight[one.mask] * residual[one.mask], rcond=1e-6)
    left = residual - best[0] - best[1] * level
    distance = 2 * np.sin(10 * left) if nonlinear else 20 * left
    expected = 0.5 * np.sum((weight * distance)[one.mask] ** 2)
    assert float(cost) == pytest.approx(expected, rel=1e-3)
    assert np.allclose(chi.numpy()[one.mask], (one.susceptibility_ppm + best[1])[one.mask], atol=1e-4)
    assert np.allclose(fitted.numpy()[one.mask], (data.field_ppm - left)[one.mask], atol=1e-5)


def test_editing_lowers_the_data_term_and_leaves_the_weights_given_alone(torch, drawn, scan):
    before = {name: value.clone() for name, value in drawn.items()}
    found = edited(scan, drawn, iterations=12, rate=0.01)
    fidelities = found.history["fidelity"]
    assert len(fidelities) == 13
    assert fidelities[-1] < 0.9 * fidelities[0]
    assert found.history["objective"] == fidelities
    assert all(torch.equal(before[name], drawn[name]) for name in drawn)
    assert not found.converged
    assert "limit" in found.stop_reason


def test_total_variation_is_that_of_the_map_and_is_kept_small(torch, drawn, scan):
    from qsm_recon.learned.device import arithmetic
    from qsm_recon.learned.editing import _Model

    inputs, data, one = scan
    model = _Model(inputs, data, arithmetic("cpu", "single"))
    chi = np.where(one.mask, 0.5, 0.0)
    chi[:20] += np.where(one.mask[:20], 0.3, 0.0)
    across = (one.mask[19] & one.mask[20]).sum()
    assert float(model.variation(torch.from_numpy(chi))) == pytest.approx(0.3 * across, rel=0.02)
    plain, smooth = (edited(scan, drawn, iterations=12, rate=0.01, smoothing=weight) for weight in (0.0, 1e-2))
    assert smooth.history["regularisation"][-1] < plain.history["regularisation"][-1]
    first = {name: values[0] for name, values in smooth.history.items()}
    assert first["objective"] == pytest.approx(first["fidelity"] + 1e-2 * first["regularisation"])


def test_steps_stay_and_then_fall():
    from qsm_recon.learned.editing import EditSettings

    settings = EditSettings(iterations=8, rate=1.0)
    assert [settings.rate_of(n) for n in range(8)] == [1, 1, 1, 1, 1, 0.75, 0.5, 0.25]


def test_without_iterations_it_is_the_map_of_the_network(torch, drawn, scan):
    from qsm_recon.learned.device import arithmetic
    from qsm_recon.learned.prediction import predict

    inputs, _, one = scan
    found = edited(scan, drawn, iterations=0)
    expected = predict(drawn, inputs.channels, arithmetic("cpu", "single")) * inputs.scale_ppm
    offset = (found.susceptibility_ppm - expected)[one.mask]
    assert np.ptp(offset) < 1e-5
    assert not found.susceptibility_ppm[~one.mask].any()


def test_editing_ends_by_tolerance_target_and_callback(torch, drawn, scan):
    by_tolerance = edited(scan, drawn, iterations=60, rate=1e-6, tolerance=0.01)
    assert by_tolerance.converged
    assert "tolerance" in by_tolerance.stop_reason
    assert len(by_tolerance.history["fidelity"]) == 6
    first = by_tolerance.history["fidelity"][0]
    by_target = edited(scan, drawn, iterations=60, rate=0.01, target=0.9 * first)
    assert by_target.converged
    assert "noise" in by_target.stop_reason
    assert by_target.history["fidelity"][-1] <= 0.9 * first < by_target.history["fidelity"][-2]
    numbers = []

    def stop(number, values):
        numbers.append(number)
        assert values["fidelity"] > 0
        return number < 2

    stopped = edited(scan, drawn, stop, iterations=60, rate=1e-3)
    assert numbers == [1, 2]
    assert "callback" in stopped.stop_reason
    assert not stopped.converged
