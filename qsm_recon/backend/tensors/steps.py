"""What all proximal steps on the field share: their sums, and where their results go."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from qsm_recon.backend.tensors.arrays import numbers, square, total


class Step(NamedTuple):
    """A proximal step, voxel by voxel.

    Parameters
    ----------
    old, new
        Splitting before and after, less ``offset``.
    dual
        Scaled dual afterwards.
    stored
        What the state becomes.
    fidelity
        Share of the fidelity at D χ.
    """

    old: Tensor
    new: Tensor
    dual: Tensor
    stored: Tensor
    fidelity: Tensor


def take(step: Step, predicted: Tensor, state: Tensor, offset: Tensor | None = None) -> tuple[float, ...]:
    """Replace D χ by z - s and the state by the new one; returns the five sums of the kernels.

    Parameters
    ----------
    step
        The step.
    predicted, state
        Views of what is replaced.
    offset
        What the splittings of the step lack to be z (φ for steps on residuals); nothing where None.
    """
    value = predicted if offset is None else predicted - offset
    split = step.new if offset is None else step.new + offset
    sums = (
        total(step.fidelity),
        total(square(value - step.new)),
        total(square(step.new - step.old)),
        total(square(split)),
        total(square(step.dual)),
    )
    state.copy_(step.stored)
    torch.sub(split, step.dual, out=predicted)
    return numbers(*sums)


def unweighted_ends(weight: Tensor) -> Tensor:
    """Mark what lies before the first and behind the last weight of a row that is not zero."""
    there = (weight != 0).to(torch.int8)
    nz = weight.shape[-1]
    begin, end = there.argmax(dim=-1, keepdim=True), nz - there.flip(-1).argmax(dim=-1, keepdim=True)
    place = torch.arange(nz, device=weight.device)
    return (place < begin) | (place >= end) | (there.amax(dim=-1, keepdim=True) == 0)
