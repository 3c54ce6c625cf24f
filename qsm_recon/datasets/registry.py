"""Data sets by name: ``kind:location?option=value&option=value``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from urllib.parse import parse_qsl

from numpy.typing import ArrayLike

from qsm_recon.datasets.case import Case
from qsm_recon.datasets.options import LoadSettings
from qsm_recon.errors import ParameterError, did_you_mean


@dataclass(frozen=True)
class DatasetKind:
    """A kind of data set.

    Parameters
    ----------
    name
        What stands before the colon.
    module
        The module that reads it: ``load(location, options, settings)`` and ``OPTIONS``, name to description.
    location
        What stands behind the colon, for help texts.
    description
        One line.
    """

    name: str
    module: str
    location: str
    description: str

    @property
    def reader(self) -> ModuleType:
        """The module, imported when it is first needed."""
        return import_module(self.module)

    @property
    def options(self) -> dict[str, str]:
        """Options and what they mean."""
        return dict(self.reader.OPTIONS)


KINDS = {
    kind.name: kind
    for kind in (
        DatasetKind("phantom", "qsm_recon.datasets.phantom_case", "sim1|sim2", "the embedded head phantom"),
        DatasetKind("rc1", "qsm_recon.datasets.rc1", "DIR", "the 2016 reconstruction challenge"),
        DatasetKind("rc2", "qsm_recon.datasets.rc2", "DIR", "the 2019 reconstruction challenge, either stage"),
        DatasetKind("bids", "qsm_recon.datasets.bids", "DIR", "multi-echo gradient echoes of a BIDS data set"),
        DatasetKind("qsmci", "qsm_recon.datasets.qsmci", "DIR", "inputs of the QSM-CI contract"),
    )
}


def load_case(
    specification: str,
    *,
    field_estimate: str | None = None,
    b0_direction: ArrayLike | None = None,
    phase_unit: str = "auto",
    accept_range: bool = False,
    phase_sign: str | None = None,
    bipolar: str | None = None,
    cache: bool = True,
) -> Case:
    """Load a data set.

    Parameters
    ----------
    specification
        ``kind:location?option=value&...``, for example ``phantom:sim2?snr=1000`` or ``bids:DIR?subject=01``; option
        values may be percent-encoded.
    field_estimate
        ``fit`` or ``difference``; None leaves it to the data set.
    b0_direction
        Direction of the main field in voxel axes, overriding what the data set says.
    phase_unit
        Unit of the phase, see :func:`qsm_recon.field.rescale_phase`.
    accept_range
        Accept a field or phase whose range looks impossible for its unit.
    phase_sign
        ``positive`` or ``negative``; None leaves it to the data set.
    bipolar
        Whether odd and even echoes were read in opposite directions: ``auto``, ``yes`` or ``no``; None leaves it to the
        data set.
    cache
        Whether a phantom may come from, and be kept in, the user's cache.

    Raises
    ------
    ParameterError
        If kind or option is unknown, or a value is wrong.
    DataError
        If the data are missing or inconsistent.
    """
    kind, location, options = parse_specification(specification)
    settings = LoadSettings(field_estimate, b0_direction, phase_unit, accept_range, phase_sign, bipolar, cache)
    case: Case = kind.reader.load(location, options, settings)
    return case


def parse_specification(specification: str) -> tuple[DatasetKind, str, dict[str, str]]:
    """Take a specification apart into kind, location and options.

    Raises
    ------
    ParameterError
        If it is no text, or kind or option is unknown, given twice, or without a value.
    """
    if not isinstance(specification, str):
        raise ParameterError(f"data set {specification!r}: expected a text, KIND:LOCATION, such as 'phantom:sim2'")
    name, colon, rest = specification.partition(":")
    if name not in KINDS or not colon:
        raise ParameterError(
            f"data set '{specification}': expected KIND:LOCATION, and '{name}' is no kind{did_you_mean(name, KINDS)}"
            if name not in KINDS
            else f"data set '{specification}': expected {name}:{KINDS[name].location}"
        )
    kind = KINDS[name]
    location, _, query = rest.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as error:
        raise ParameterError(f"data set '{specification}': expected option=value&option=value behind '?'") from error
    options: dict[str, str] = {}
    for key, value in pairs:
        if key not in kind.options:
            raise ParameterError(f"data set option '{key}' is unknown for {name}{did_you_mean(key, kind.options)}")
        if key in options:
            raise ParameterError(f"data set option '{key}' is given twice")
        if not value:
            raise ParameterError(f"data set option '{key}' has no value; write {key}=VALUE")
        options[key] = value
    return kind, location, options
