"""The file of weights: safetensors, which holds numbers and text only, read and written without running anything."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsm_recon.errors import DataError, MissingDependencyError
from qsm_recon.io import atomic_write
from qsm_recon.learned.network import WIDTHS, shapes

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "qsm_recon learned inversion 1"
SHIPPED = Path(__file__).parent / "weights.safetensors"
EXTRA = "qsm_recon[torch]"
VARIABLE = "QSM_RECON_WEIGHTS"
"""Environment variable that names another file of weights."""


def chosen_weights() -> Path:
    """The file that the environment variable ``QSM_RECON_WEIGHTS`` names, else that of the package."""
    return Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else SHIPPED


def require_torch() -> None:
    """Make sure that the optional libraries are there.

    Raises
    ------
    MissingDependencyError
        If one is not.
    """
    from importlib.util import find_spec

    missing = [name for name in ("torch", "safetensors") if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"learned methods need {' and '.join(missing)}, which is not installed; "
            f"install the extra: pip install '{EXTRA}'"
        )


def save_weights(path: Path, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write weights, in half precision, and what is known of them.

    Parameters
    ----------
    path
        The file, replaced as a whole.
    weights
        See :func:`qsm_recon.learned.network.shapes`.
    facts
        Everything that goes into JSON: how they were trained, on what, with what result.
    """
    import torch
    from safetensors.torch import save_file

    halves = {name: value.detach().cpu().to(torch.float16).contiguous() for name, value in weights.items()}
    told = {"format": FORMAT, "facts": json.dumps(dict(facts), sort_keys=True)}
    atomic_write(path, lambda place: save_file(halves, place, told))


def load_weights(path: Path = SHIPPED) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read weights and what is known of them.

    Parameters
    ----------
    path
        A file that :func:`save_weights` wrote; by default that of the package.

    Returns
    -------
    weights
        By name, in single precision.
    facts
        What was written with them.

    Raises
    ------
    DataError
        If the file is absent, is none of safetensors, or holds another network's weights.
    MissingDependencyError
        If torch or safetensors is not installed.
    """
    require_torch()
    import torch

    stored, facts = _read(path)
    widths = tuple(facts.get("widths", WIDTHS))
    expected = shapes(widths)
    found = {name: tuple(value.shape) for name, value in stored.items()}
    odd = sorted(name for name in expected.keys() | found.keys() if found.get(name) != expected.get(name))
    if odd:
        raise DataError(
            f"{path}: its weights are those of another network: '{odd[0]}' has shape {found.get(odd[0])}, expected "
            f"{expected.get(odd[0])}; train them with python -m qsm_recon.learn train"
        )
    weights = {name: value.to(torch.float32) for name, value in stored.items()}
    broken = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if broken:
        raise DataError(f"{path}: '{broken[0]}' holds values that are not finite; train or copy the file anew")
    return weights, facts


def facts_of(path: Path = SHIPPED) -> dict[str, Any]:
    """Read what is known of weights, as :func:`load_weights` does, without them."""
    require_torch()
    return _read(path, weights=False)[1]


def _read(path: Path, *, weights: bool = True) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise DataError(f"{path}: there is no such file of weights; python -m qsm_recon.learn train writes one")
    try:
        with safe_open(path, framework="pt") as stream:
            told = stream.metadata() or {}
            names = stream.keys() if weights else ()
            stored = {name: stream.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: it cannot be read as safetensors ({error}); train or copy the file anew") from error
    if told.get("format") != FORMAT:
        raise DataError(
            f"{path}: expected a file of '{FORMAT}', found '{told.get('format', 'no format')}'; "
            "take one that python -m qsm_recon.learn train wrote"
        )
    try:
        return stored, dict(json.loads(told["facts"]))
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: what it says of its training cannot be read; train or copy the file anew") from error
