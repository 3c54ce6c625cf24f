"""What the network is trained on, and that training is what it says, goes on where it stopped, and learns."""

from __future__ import annotations

import json

import numpy as np
import pytest

from qsm_recon.errors import DataError, ParameterError
from qsm_recon.learned import examples as made
from qsm_recon.learned.examples import KINDS, SHARES, example
from qsm_recon.learned.heads import EVALUATION_SEED, HEAD_VERSION, TILT_DEG, drawn_head, head
from qsm_recon.learned.inputs import CHANNELS, FIELD_GAIN, LEVEL, MISSING_GAIN, WEIGHT, prepare
from qsm_recon.learned.training import CHECKPOINT, HISTORY, INSET, WEIGHTS, Training, drawn_patch
from qsm_recon.operators.dipole import dipole_kernel

from .conftest import first_map, little_head

# ---- what it is trained on ----


def test_heads_are_drawn_by_their_seed_and_never_the_one_that_is_reported_on():
    with pytest.raises(ParameterError, match="figures are reported on"):
        drawn_head(EVALUATION_SEED)
    drawn = [drawn_head(seed) for seed in range(100, 140)]
    assert drawn[3] == drawn_head(103)
    assert {one.case for one in drawn} == {"sim1", "sim2"}
    assert len({one.texture_ppm for one in drawn}) > 10
    assert any(one.haemorrhages for one in drawn)
    assert any(one.remnant_ppm for one in drawn)
    angles = [np.degrees(np.arccos(one.b0_direction[2])) for one in drawn]
    assert max(angles) <= TILT_DEG
    assert 0.2 < np.mean(np.array(angles) > 1) < 0.8
    assert min(one.snr for one in drawn) >= 50


def test_a_head_of_the_phantom_is_kept_with_its_truth(tmp_path):
    made_now, read = (head(tmp_path, 31, "reduced") for _ in range(2))
    assert [path.name for path in tmp_path.iterdir()] == [f"head-{HEAD_VERSION}-reduced-31.npz"]
    assert np.array_equal(made_now.field_ppm, read.field_ppm)
    assert read.grid == made_now.grid
    assert read.grid.voxel_size_mm == pytest.approx((2, 2, 2))
    assert not read.susceptibility_ppm[~read.mask].any()
    assert read.susceptibility_ppm[read.mask].std() > 0.005
    misfit = read.field_ppm - _field_of(read)
    noise = np.sqrt(np.mean(read.noise_ppm[read.mask] ** 2))
    assert np.std(misfit[read.mask]) < 3 * noise + drawn_head(31).remnant_ppm + 0.002


def _field_of(one):
    from qsm_recon.operators.dipole import DipoleOperator

    return DipoleOperator(one.grid, padding=12).forward(one.susceptibility_ppm)


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_is_a_problem_and_its_answer(kind, cache):
    one = example(cache, kind, 11, first_map)
    mask = np.asarray(one.channels[CHANNELS.index("mask")]) > 0
    truth = np.asarray(one.truth, np.float64) * one.scale_ppm
    assert abs(truth[mask].mean()) < 1e-3 * truth[mask].std()
    assert not truth[~mask].any()
    field = np.asarray(one.channels[0], np.float64) * one.scale_ppm / FIELD_GAIN
    if kind == "head":
        assert np.allclose(field[mask], little_head(11).field_ppm[mask] - field_mean(11), atol=2e-4)
        from qsm_recon.operators.dipole import DipoleOperator

        modelled = DipoleOperator(little_head(11).grid, padding=12).forward(truth.astype(np.float32))
        correlated = np.corrcoef(modelled[mask], field[mask])[0, 1]
        assert correlated > 0.8
    base = np.asarray(one.channels[CHANNELS.index("base")], np.float64)[mask]
    assert np.diff(np.percentile(base, (16, 84)))[0] == pytest.approx(2, rel=0.01)
    assert np.corrcoef(base, truth[mask])[0, 1] > 0.5


def field_mean(seed):
    one = little_head(seed)
    return one.field_ppm[one.mask].mean()


def test_examples_of_other_kinds_have_another_answer(cache):
    truths = [np.asarray(example(cache, kind, 12, first_map).truth, np.float64).ravel() for kind in KINDS]
    assert abs(np.corrcoef(truths[0], truths[2])[0, 1]) < 0.3
    assert sum(SHARES) == pytest.approx(1)


def test_inputs_are_what_they_are_said_to_be():
    """A direct evaluation in double precision."""
    one = little_head(13)
    base = first_map(one)
    inputs = prepare(one.field_ppm, base, one.mask, one.grid)
    padded = inputs.operator.padded_grid
    nx, ny, nz = one.grid.shape
    kernel = dipole_kernel(padded, dtype=np.float64)

    def filtered(image, by):
        spectrum = (
            np.fft.rfftn(np.pad(image, [(0, m - n) for m, n in zip(padded.shape, image.shape, strict=True)])) * by
        )
        return np.fft.irfftn(spectrum, padded.shape, axes=(0, 1, 2))[:nx, :ny, :nz]

    def centred(image):
        return np.where(one.mask, image - image[one.mask].mean(), 0)

    left = centred(centred(one.field_ppm.astype(float)) - filtered(base.astype(float), kernel))
    k = np.meshgrid(*[np.fft.fftfreq(n) for n in padded.shape[:2]], np.fft.rfftfreq(padded.shape[2]), indexing="ij")
    squared = sum(4 * np.sin(np.pi * part) ** 2 for part in k)
    missing = centred(filtered(left, kernel / (kernel**2 + LEVEL + WEIGHT * squared)))
    unit = inputs.scale_ppm
    assert np.allclose(inputs.channels[CHANNELS.index("field")], FIELD_GAIN * centred(one.field_ppm) / unit, atol=1e-4)
    assert np.allclose(inputs.channels[CHANNELS.index("base")], centred(base) / unit, atol=1e-4)
    assert np.allclose(inputs.channels[CHANNELS.index("missing")], MISSING_GAIN * missing / unit, atol=1e-3)
    assert np.array_equal(inputs.channels[-1], one.mask)


def test_inputs_do_not_depend_on_the_unit_of_the_field():
    one = little_head(13)
    base = first_map(one)
    first, other = (prepare(factor * one.field_ppm, factor * base, one.mask, one.grid) for factor in (1, 50))
    assert np.allclose(first.channels, other.channels, atol=1e-4)
    assert other.scale_ppm == pytest.approx(50 * first.scale_ppm, rel=1e-4)
    nothing = prepare(0 * one.field_ppm, 0 * base, one.mask, one.grid)
    assert nothing.scale_ppm == 0
    assert not nothing.channels[:-1].any()


def test_a_patch_is_a_piece_of_an_example_and_of_its_answer(cache):
    found = {kind: [example(cache, kind, 11, first_map)] for kind in KINDS}
    flat = np.concatenate([np.asarray(one.truth, np.float32).ravel() for (one,) in found.values()])
    for seed in range(8):
        patch = drawn_patch(np.random.default_rng(seed), found, 24)
        assert patch.shape == (len(CHANNELS) + 1, 24, 24, 24)
        assert np.array_equal(patch, drawn_patch(np.random.default_rng(seed), found, 24))
        assert np.isin(patch[-1], flat).all()
        assert patch[CHANNELS.index("mask"), 12, 12, 12] or patch[CHANNELS.index("mask")].any()
        # Channels and answer were turned alike.
        inside = patch[CHANNELS.index("mask")] > 0
        assert np.corrcoef(patch[CHANNELS.index("base")][inside], patch[-1][inside])[0, 1] > 0.2


def test_a_turned_patch_obeys_the_third_axis():
    """Flips and a swap of the first two axes leave a field along the third where it is."""
    volume = np.zeros((16, 16, 16))
    volume[3, 5, 7] = 1
    shape = (len(CHANNELS), 16, 16, 16)
    channels = np.zeros(shape, np.float16)
    channels[:], channels[-1] = volume, 1
    one = made.Example(channels, volume.astype(np.float16), 1.0)
    thirds = set()
    for seed in range(40):
        patch = drawn_patch(np.random.default_rng(seed), {kind: [one] for kind in KINDS}, 48)
        (place,) = np.argwhere(patch[-1] == 1)
        (corner,) = np.argwhere(patch[0] == 1)
        assert np.array_equal(place, corner)
        filled = np.argwhere(patch[CHANNELS.index("mask")] > 0)
        inner = place - filled.min(axis=0)
        assert set(inner[:2].tolist()) <= {3, 12, 5, 10}
        thirds.add(int(inner[2]))
    assert thirds == {7, 8}


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"patch": 20}, "patch"), ({"patch": 2 * INSET}, "patch"), ({"heads": ()}, "heads"),
     ({"held_out": (11,)}, "heads"), ({"steps": 0}, "steps")],
)  # fmt: skip
def test_training_refuses_what_it_cannot_do(changes, word):
    with pytest.raises(ParameterError, match=word):
        Training(**{"heads": (11,), "held_out": (12,), **changes})


def test_the_learning_rate_rises_stays_and_falls():
    training = Training((11,), (12,), steps=1000, rate=1.0)
    rates = [training.learning_rate(step) for step in (0, 19, 20, 690, 850, 999)]
    assert rates[0] == pytest.approx(0.05)
    assert rates[1] == rates[2] == rates[3] == 1
    assert rates[4] == pytest.approx(0.505, abs=0.01)
    assert rates[5] == pytest.approx(0.01, abs=1e-3)


# ---- training ----


@pytest.fixture(scope="module")
def torch():
    pytest.importorskip("safetensors", reason="needs the extra qsm_recon[torch]")
    return pytest.importorskip("torch", reason="needs the extra qsm_recon[torch]")


def small(**changes):
    known = {"heads": (11, 12), "held_out": (13,), "steps": 6, "patch": 24, "widths": (8, 8, 8, 8), "check_every": 2}
    return Training(**{**known, **changes})


def run(training, cache, out):
    from qsm_recon.learned.training import train
    from qsm_recon.learned.weights import load_weights

    facts = train(training, cache, out, first_map, device="cpu", precision="single")
    return load_weights(out / WEIGHTS)[0], facts


def test_training_that_was_stopped_comes_to_the_same_weights(torch, cache, tmp_path):
    whole, facts = run(small(), cache, tmp_path / "whole")
    stopped = tmp_path / "stopped"

    class KilledError(Exception):
        pass

    def kill(line):
        if line.startswith("step 4"):
            raise KilledError

    from qsm_recon.learned.training import train

    with pytest.raises(KilledError):
        train(small(), cache, stopped, first_map, device="cpu", precision="single", tell=kill)
    again, _ = run(small(), cache, stopped)
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    other, _ = run(small(seed=1), cache, tmp_path / "other")
    assert not all(torch.equal(whole[name], other[name]) for name in whole)
    history = [json.loads(line) for line in (stopped / HISTORY).read_text().splitlines()]
    assert [line["step"] for line in history] == [2, 4, 6]
    assert facts["step"] == 6
    assert facts["field_spread_ppm"][0] > 0


def test_a_damaged_checkpoint_is_an_error_and_not_a_new_start(torch, cache, tmp_path):
    run(small(steps=2), cache, tmp_path)
    (tmp_path / CHECKPOINT).write_bytes(b"nonsense")
    with pytest.raises(DataError, match="remove it to start anew"):
        run(small(), cache, tmp_path)


def test_steps_learn_what_is_in_the_inputs(torch):
    """What is missing is half of a channel: new volumes every step, so that nothing can be learned by heart."""
    from qsm_recon.learned.network import correct, initial_weights
    from qsm_recon.learned.steps import descend, zero_momenta
    from qsm_recon.learned.training import loss_of

    weights = {name: value.requires_grad_() for name, value in initial_weights(0, (8, 8, 8, 8)).items()}
    momenta, draw, losses = zero_momenta(weights), torch.Generator().manual_seed(2), []
    for step in range(80):
        channels = torch.randn((1, len(CHANNELS), 24, 24, 24), generator=draw)
        channels[:, -1] = 1
        truth = channels[:, CHANNELS.index("base")] + 0.5 * channels[:, CHANNELS.index("missing")]
        loss = loss_of(correct(weights, channels), truth, channels[:, -1])
        loss.backward()
        descend(weights, momenta, 0.02 if step < 60 else 0.005)
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_steps_are_of_one_size_in_all_directions(torch):
    from qsm_recon.learned.steps import descend, levelled, zero_momenta

    draw = torch.Generator().manual_seed(1)
    step = torch.randn((4, 3, 3, 3, 3), generator=draw) + 5
    found = torch.linalg.svdvals(levelled(step).reshape(4, -1))
    assert torch.allclose(found, torch.ones(4), atol=1e-3)
    assert float(levelled(torch.tensor([3.0, 4.0])).norm()) == pytest.approx(1)
    assert not levelled(torch.zeros(2, 3)).any()
    weights = {"a.weight": torch.zeros(1, 2, 1, 1, 1), "leave.bias": torch.zeros(1)}
    for weight in weights.values():
        weight.grad = torch.ones_like(weight)
    descend(weights, zero_momenta(weights), 0.1)
    assert torch.allclose(weights["a.weight"].flatten(), torch.tensor([-0.1, -0.1]) / 2**0.5)
    assert float(weights["leave.bias"]) == pytest.approx(-0.01)
    assert weights["leave.bias"].grad is None


def test_the_loss_is_that_of_the_inner_mask(torch):
    from qsm_recon.learned.training import GRADIENT_LOSS, HUBER, loss_of

    n = 2 * INSET + 4
    truth, mask = torch.zeros(1, n, n, n), torch.ones(1, n, n, n)
    constant = loss_of(truth + 0.2, truth, mask)
    assert float(constant) == pytest.approx(0.5 * 0.2**2, rel=1e-5)
    large = loss_of(truth + 3.0, truth, mask)
    assert float(large) == pytest.approx(HUBER * (3 - HUBER / 2), rel=1e-5)
    outer = truth.clone()
    outer[:, :INSET] = 9.0
    assert float(loss_of(outer, truth, mask)) == 0
    step = truth.clone()
    step[:, INSET + 2 :] = 0.1
    counted = 16 / 64 * 0.5 * 0.1**2  # pairs across the step, over the voxels
    assert float(loss_of(step, truth, mask)) == pytest.approx(
        0.5 * 0.5 * 0.1**2 + GRADIENT_LOSS / 3 * counted, rel=1e-4
    )


def test_the_command_trains_and_shows(torch, cache, tmp_path, capsys):
    from qsm_recon.learn import main

    words = ["train", "--out", str(tmp_path), "--cache", str(cache), "--heads", "11", "--held-out", "12",
             "--steps", "1", "--patch", "24", "--threads", "1", "--device", "cpu", "--precision", "single"]  # fmt: skip
    assert main(words) == 0
    assert "step 1" in capsys.readouterr().out
    assert main(["show", str(tmp_path / WEIGHTS)]) == 0
    shown = capsys.readouterr().out
    assert "held_out_percent" in shown
    assert main(["train", "--out", str(tmp_path), "--cache", str(cache), "--heads", "2"]) == 2
    assert "figures are reported on" in capsys.readouterr().err
