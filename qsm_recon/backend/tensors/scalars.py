"""Tensors for :mod:`qsm_recon.backend.scalars`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

_precision: ContextVar[torch.dtype] = ContextVar("precision", default=torch.float64)


@contextmanager
def arithmetic_of(field: Tensor) -> Iterator[None]:
    """Let steps be in the precision of a field."""
    token = _precision.set(field.dtype)
    try:
        yield
    finally:
        _precision.reset(token)


def smaller(one: Any, other: Any) -> Any:
    """See the scalar."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.minimum(one, other)
    return other.clamp(max=one) if isinstance(other, Tensor) else one.clamp(max=other)


def larger(one: Any, other: Any) -> Any:
    """See the scalar."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.maximum(one, other)
    return other.clamp(min=one) if isinstance(other, Tensor) else one.clamp(min=other)


def limited(value: Any, limit: Any) -> Any:
    """See the scalar."""
    if isinstance(limit, Tensor):
        return torch.minimum(torch.maximum(value, -limit), limit)
    return value.clamp(-limit, limit)


def chosen(condition: Tensor, one: Any, other: Any) -> Tensor:
    """See the scalar; of two numbers in the precision of the step."""
    if not isinstance(one, Tensor) and not isinstance(other, Tensor):
        dtype, device = _precision.get(), condition.device
        one, other = (torch.full((), float(n), dtype=dtype, device=device) for n in (one, other))
    return torch.where(condition, one, other)


def settled(condition: Tensor) -> bool:
    """See the scalar."""
    return bool(condition.all())


def nearest_whole(value: Tensor) -> Tensor:
    """See the scalar."""
    return torch.round(value)


def exact_sine(value: Tensor) -> Tensor:
    """See the scalar."""
    return torch.sin(value)


def exact_cosine(value: Tensor) -> Tensor:
    """See the scalar."""
    return torch.cos(value)


def near_sine(x: Any, one: float) -> Any:
    """See the scalar."""
    return math.sin(x) if isinstance(x, float) else torch.sin(x)


def near_cosine(x: Any, one: float) -> Any:
    """See the scalar."""
    return math.cos(x) if isinstance(x, float) else torch.cos(x)
