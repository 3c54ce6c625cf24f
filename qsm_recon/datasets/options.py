"""Options of a data set, written as ``kind:location?name=value&name=value``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import ArrayLike

from qsm_recon.errors import ParameterError, did_you_mean

PHASE_SIGNS = ("positive", "negative")
BIPOLAR_CHOICES = ("auto", "yes", "no")
ECHO_OPTIONS = {
    "phase_sign": "negative where phase falls with a growing field; positive by default",
    "bipolar": "whether odd and even echoes were read in opposite directions: auto (default), yes or no",
}


@dataclass(frozen=True)
class LoadSettings:
    """What applies to any data set, from the command line rather than the specification.

    Parameters
    ----------
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
        ``auto``, ``yes`` or ``no``; None leaves it to the data set.
    cache
        Whether what is simulated may come from, and be kept in, the user's cache.
    """

    field_estimate: str | None = None
    b0_direction: ArrayLike | None = None
    phase_unit: str = "auto"
    accept_range: bool = False
    phase_sign: str | None = None
    bipolar: str | None = None
    cache: bool = True

    def echo_options(self, options: Mapping[str, str]) -> dict[str, str]:
        """How the echoes are to be read, from these settings and the options ``phase_sign`` and ``bipolar``.

        Raises
        ------
        ParameterError
            If an option is unknown, or option and setting contradict each other.
        """
        return {
            "phase_sign": choose_setting(options, "phase_sign", self.phase_sign, PHASE_SIGNS, "positive"),
            "bipolar": choose_setting(options, "bipolar", self.bipolar, BIPOLAR_CHOICES, "auto"),
        }

    def require_no_echo_options(self, kind: str) -> None:
        """Refuse settings for echoes where a data set has none of its own.

        Raises
        ------
        ParameterError
            Naming the setting.
        """
        for name in ("phase_sign", "bipolar"):
            if getattr(self, name) is not None:
                option = name.replace("_", "-")
                raise ParameterError(f"{kind}: the field is given, no echoes are read; leave --{option} out")


def choose(options: Mapping[str, str], name: str, choices: tuple[str, ...], default: str) -> str:
    """Return an option that is one of several words.

    Raises
    ------
    ParameterError
        If it is another word.
    """
    value = options.get(name, default)
    if value not in choices:
        raise ParameterError(f"data set option {name}: unknown value '{value}'{did_you_mean(value, choices)}")
    return value


def choose_setting(
    options: Mapping[str, str], name: str, asked: str | None, choices: tuple[str, ...], default: str
) -> str:
    """Return an option of the data set, else the general setting asked for, else the default.

    Raises
    ------
    ParameterError
        If it is unknown, or option and setting contradict each other.
    """
    chosen = choose(options, name, choices, asked or default)
    if asked is not None and asked != chosen:
        raise ParameterError(f"data set option {name}={chosen} contradicts '{asked}', which is asked for; give one")
    return chosen


def choose_field(options: Mapping[str, str], settings: LoadSettings, choices: tuple[str, ...], default: str) -> str:
    """Return where the field comes from: the option ``field``, else the general setting, else the default.

    Raises
    ------
    ParameterError
        If it is unknown, or option and setting contradict each other.
    """
    return choose_setting(options, "field", settings.field_estimate, choices, default)


def path_inside(folder: Path, options: Mapping[str, str], name: str) -> Path | None:
    """Return the file that an option names by its path below the folder of the data set; None where it is not given.

    A link that lies inside is followed, wherever it leads: data managers keep the files of a data set as links.

    Raises
    ------
    ParameterError
        If the path leads out of the folder.
    """
    if name not in options:
        return None
    path = folder / options[name]
    if not Path(os.path.abspath(path)).is_relative_to(os.path.abspath(folder)):  # noqa: PTH100  (follows no link)
        raise ParameterError(
            f"data set option {name}: '{options[name]}' leads out of {folder}; give a path below that folder"
        )
    return path


def numbers(options: Mapping[str, str], name: str, count: int | None = None) -> tuple[float, ...] | None:
    """Return an option of numbers separated by commas; None where it is not given.

    Raises
    ------
    ParameterError
        If it holds something else, or another count.
    """
    if name not in options:
        return None
    text = options[name]
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or (count is not None and len(values) != count):
        expected = "numbers" if count is None else "one number" if count == 1 else f"{count} numbers"
        raise ParameterError(f"data set option {name}: expected {expected} separated by commas, found '{text}'")
    return values


def number(options: Mapping[str, str], name: str) -> float | None:
    """Return an option of one number; None where it is not given."""
    values = numbers(options, name, 1)
    return None if values is None else values[0]


def whole_number(options: Mapping[str, str], name: str) -> int | None:
    """Return an option of one whole number; None where it is not given.

    Raises
    ------
    ParameterError
        If it is something else.
    """
    value = number(options, name)
    if value is not None and value != int(value):
        raise ParameterError(f"data set option {name}: expected a whole number, found '{options[name]}'")
    return None if value is None else int(value)


def flag(options: Mapping[str, str], name: str) -> bool | None:
    """Return an option of yes or no; None where it is not given.

    Raises
    ------
    ParameterError
        If it is another word.
    """
    if name not in options:
        return None
    words = {"yes": True, "true": True, "1": True, "": True, "no": False, "false": False, "0": False}
    text = options[name].lower()
    if text not in words:
        raise ParameterError(f"data set option {name}: expected yes or no, found '{options[name]}'")
    return words[text]
