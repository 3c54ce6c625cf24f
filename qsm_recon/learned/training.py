"""Training: patches of examples, a step, a checkpoint to go on from, and held-out heads to judge by."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import DataError, ParameterError
from qsm_recon.io import atomic_write
from qsm_recon.learned.device import Arithmetic, arithmetic
from qsm_recon.learned.examples import KINDS, SHARES, Example, FirstMap, example
from qsm_recon.learned.inputs import CHANNELS
from qsm_recon.learned.network import MULTIPLE, WIDTHS, correct, initial_weights, slope
from qsm_recon.learned.prediction import predict
from qsm_recon.learned.steps import descend, zero_momenta
from qsm_recon.learned.weights import save_weights

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

CHECKPOINT, HISTORY, WEIGHTS = "checkpoint.safetensors", "history.jsonl", "weights.safetensors"
WARM_UP = 20
"""Steps in which the learning rate rises."""
DECAY = 0.3
"""Last part of the steps, in which it falls."""
LAST_RATE = 0.01
HUBER = 0.5
"""Errors in the unit of the inputs from which on the loss is linear."""
GRADIENT_LOSS = 0.5
AVERAGE = 0.995
"""Of the weights that are kept, the share of the former in the mean over steps."""
INSET = 8
"""Voxels at a patch's faces that do not count, as they lack their surroundings."""


@dataclass(frozen=True)
class Training:
    """What to train on, and how.

    Parameters
    ----------
    heads, held_out
        Seeds of the heads to train on, and of those to judge by.
    steps
        Number of steps in all; the learning rate falls over the last three tenths.
    seed
        Of the first weights and of everything drawn.
    patch
        Edge of the patches in voxels, a multiple of eight above 16.
    batch
        Patches per step.
    rate
        Size of a step: of each singular value of each layer's change.
    size
        Of the heads, ``full`` or ``reduced``.
    widths
        Channels of the network at its levels.
    check_every
        Steps between checkpoints, each with the error on the held-out heads.
    """

    heads: tuple[int, ...]
    held_out: tuple[int, ...]
    steps: int = 20000
    seed: int = 0
    patch: int = 64
    batch: int = 1
    rate: float = 0.005
    size: str = "full"
    widths: tuple[int, ...] = WIDTHS
    check_every: int = 250

    def __post_init__(self) -> None:
        """Check what the loop relies on."""
        if self.patch % MULTIPLE or self.patch <= 2 * INSET:
            raise ParameterError(f"patch: expected a multiple of {MULTIPLE} above {2 * INSET}, found {self.patch}")
        if not self.heads or set(self.heads) & set(self.held_out):
            raise ParameterError(
                f"heads: expected seeds to train on that are none of those held out, found {self.heads} and "
                f"{self.held_out}"
            )
        if min(self.steps, self.batch, self.check_every) < 1:
            raise ParameterError("steps, batch and check_every: expected at least 1")

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0: it rises, stays, and falls as a cosine."""
        done = step / self.steps
        falling = max(0.0, (done - (1 - DECAY)) / DECAY)
        factor = LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + np.cos(np.pi * falling))
        return float(self.rate * min(1.0, (step + 1) / WARM_UP) * factor)


def train(
    training: Training,
    cache: Path,
    out: Path,
    first_map: FirstMap,
    *,
    device: str = "auto",
    precision: str = "auto",
    tell: Callable[[str], None] = logger.info,
) -> dict[str, Any]:
    """Train the network, from the checkpoint in a folder where there is one.

    Every step draws its patches by the seed and its own number, so that a run that was stopped and one that was not
    come to the same weights.

    Parameters
    ----------
    training
        What to train on, and how.
    cache
        Folder of the heads and examples; made where they are missing.
    out
        Folder of checkpoint, history and weights.
    first_map
        Gives the map that the network corrects.
    device
        ``cpu``, ``cuda`` or ``auto``, a GPU where there is one.
    precision
        ``single``, ``bfloat16`` (mixed) or ``auto``, mixed where the hardware has it.
    tell
        Called with a line of progress.

    Returns
    -------
    dict
        The facts that were written with the weights.
    """
    how = arithmetic(device, precision)
    examples = {
        kind: [example(cache, kind, seed, first_map, training.size) for seed in training.heads] for kind in KINDS
    }
    held_out = [example(cache, "head", seed, first_map, training.size) for seed in training.held_out]
    out.mkdir(parents=True, exist_ok=True)
    state = _State.resumed_or_new(training, out / CHECKPOINT, how)
    nothing = initial_weights(training.seed, training.widths)
    before = [round(held_out_error(nothing, one, how), 2) for one in held_out]
    tell(f"held-out heads before any correction: {before} %")
    tell(f"step {state.step} of {training.steps} on {how.device}, {how.precision}")
    losses: list[float] = []
    began = time.perf_counter()
    facts = state.facts(training, examples, how)
    while state.step < training.steps:
        losses.append(_step(state, training, examples, how))
        if state.step % training.check_every == 0 or state.step == training.steps:
            state.seconds += time.perf_counter() - began
            errors = [held_out_error(state.averages, one, how) for one in held_out]
            line = {
                "step": state.step, "loss": float(np.mean(losses)), "seconds": round(state.seconds, 1),
                "held_out_percent": [round(error, 2) for error in errors],
            }  # fmt: skip
            state.save(out / CHECKPOINT)
            facts = {**facts, **line}
            save_weights(out / WEIGHTS, state.averages, facts)
            with (out / HISTORY).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
            tell(", ".join(f"{name} {value}" for name, value in line.items()))
            losses, began = [], time.perf_counter()
    return facts


@dataclass
class _State:
    """Weights, the mean of their gradients, their own mean, and how far training has come."""

    weights: dict[str, Tensor]
    momenta: dict[str, Tensor]
    averages: dict[str, Tensor]
    step: int = 0
    seconds: float = 0.0

    @classmethod
    def resumed_or_new(cls, training: Training, path: Path, how: Arithmetic) -> _State:
        """Where a checkpoint left off, or the start."""
        first = initial_weights(training.seed, training.widths)
        weights = {name: how.place(value).requires_grad_() for name, value in first.items()}
        state = cls(
            weights,
            zero_momenta(weights),
            {name: value.detach().clone() for name, value in weights.items()},
        )
        if path.exists():
            state._read(path)
        return state

    def _read(self, path: Path) -> None:
        """Go on from a checkpoint."""
        import torch
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as stream:
                told = stream.metadata() or {}
                stored = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            self.step, self.seconds = int(told["step"]), float(told["seconds"])
            for name, weight in self.weights.items():
                with torch.no_grad():
                    weight.copy_(stored[f"weight/{name}"])
                    self.momenta[name].copy_(stored[f"momentum/{name}"])
                    self.averages[name].copy_(stored[f"average/{name}"])
        except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
            raise DataError(
                f"{path}: training cannot go on from this checkpoint ({error}); it is damaged or of another network: "
                "remove it to start anew"
            ) from error

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        from safetensors.torch import save_file

        tensors = {}
        for kind, group in (("weight", self.weights), ("momentum", self.momenta), ("average", self.averages)):
            for name, tensor in group.items():
                tensors[f"{kind}/{name}"] = tensor.detach().cpu().contiguous()
        told = {"step": str(self.step), "seconds": repr(self.seconds)}
        atomic_write(path, lambda place: save_file(tensors, place, told))

    def facts(self, training: Training, examples: dict[str, list[Example]], how: Arithmetic) -> dict[str, Any]:
        """What is to be known of the weights, among it the domain that they were trained in."""
        every = [one for kind in examples.values() for one in kind]
        spreads, peaks = zip(*(one.field_range_ppm() for one in every), strict=True)
        return {
            **asdict(training),
            "precision": how.precision,
            "field_spread_ppm": [min(spreads), max(spreads)],
            "field_peak_ppm": max(peaks),
        }


def _step(state: _State, training: Training, examples: dict[str, list[Example]], how: Arithmetic) -> float:
    """One step; returns the loss."""
    import torch

    draw = np.random.default_rng([training.seed, state.step])
    patches = [drawn_patch(draw, examples, training.patch) for _ in range(training.batch)]
    volumes = how.place(torch.from_numpy(np.stack(patches)))
    with how.autocast():
        found = correct(state.weights, volumes[:, :-1])
    loss = loss_of(found, volumes[:, -1], volumes[:, CHANNELS.index("mask")])
    loss.backward()
    descend(state.weights, state.momenta, training.learning_rate(state.step))
    share = min(AVERAGE, (state.step + 1) / (state.step + 11))
    with torch.no_grad():
        for name, weight in state.weights.items():
            state.averages[name].lerp_(weight, 1 - share)
    state.step += 1
    return float(loss.detach())


def loss_of(found: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Huber's loss of the error inside the mask and of its steps between neighbours, off the patch's faces.

    Errors are relative to the truth where that is far beyond tissue's, or strong sources would be all that counts.

    Parameters
    ----------
    found, truth, mask
        (batch, n, n, n); the mask is 0 or 1.
    """
    from torch.nn.functional import huber_loss

    inner = (slice(None), *[slice(INSET, -INSET)] * 3)
    error, inside = ((found.float() - truth) / slope(truth) * mask)[inner], mask[inner]
    count = inside.sum().clamp(min=1)

    def cost(values: Tensor) -> Tensor:
        return huber_loss(values, values.new_zeros(()).expand_as(values), reduction="sum", delta=HUBER) / count

    total = cost(error)
    for axis in (1, 2, 3):
        n = error.shape[axis] - 1
        both = inside.narrow(axis, 0, n) * inside.narrow(axis, 1, n)
        total = total + GRADIENT_LOSS / 3 * cost((error.narrow(axis, 1, n) - error.narrow(axis, 0, n)) * both)
    return total


def drawn_patch(draw: np.random.Generator, examples: dict[str, list[Example]], size: int) -> NDArray[np.float32]:
    """A patch about a voxel of a mask, turned into one of sixteen images of itself that keep the third axis.

    Parameters
    ----------
    draw
        Random numbers.
    examples
        By kind.
    size
        Edge in voxels.

    Returns
    -------
    ndarray
        (6, size, size, size) channels and truth.
    """
    kind = KINDS[draw.choice(len(KINDS), p=SHARES)]
    one = examples[kind][draw.integers(len(examples[kind]))]
    mask = one.channels[CHANNELS.index("mask")]
    shape = mask.shape
    while True:
        centre = [int(draw.integers(n)) for n in shape]
        if mask[tuple(centre)]:
            break
    patch = np.zeros((len(CHANNELS) + 1, size, size, size), np.float32)
    source: list[slice] = []
    target: list[slice] = []
    for c, n in zip(centre, shape, strict=True):
        start = c - size // 2
        low, high = max(0, start), min(n, start + size)
        source.append(slice(low, high))
        target.append(slice(low - start, high - start))
    patch[:-1][(slice(None), *target)] = one.channels[(slice(None), *source)]
    patch[-1][tuple(target)] = one.truth[tuple(source)]
    flipped = tuple(axis + 1 for axis in range(3) if draw.random() < 0.5)
    patch = np.flip(patch, flipped)
    return np.ascontiguousarray(np.swapaxes(patch, 1, 2) if draw.random() < 0.5 else patch)


def held_out_error(weights: dict[str, Tensor], one: Example, how: Arithmetic) -> float:
    """Error over the mask of an example, in per cent of its truth, both without their means (NRMSE)."""
    mask = np.asarray(one.channels[CHANNELS.index("mask")]) > 0
    found = predict(weights, np.asarray(one.channels, np.float32), how)[mask].astype(np.float64)
    truth = np.asarray(one.truth[mask], np.float64)
    error = (found - found.mean()) - (truth - truth.mean())
    return float(100 * np.linalg.norm(error) / np.linalg.norm(truth - truth.mean()))
