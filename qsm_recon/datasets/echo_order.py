"""The order of echo files: by the echo times of their sidecars, else by the numbers in their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from qsm_recon.errors import DataError
from qsm_recon.file_names import sidecar_of
from qsm_recon.io import read_json

NAMED_ECHO = re.compile(r"(?:echo[-_]?|_e)0*(\d+)(?![0-9A-Za-z])", re.IGNORECASE)
SAME_TIME = 0.01
"""Echo times that differ by less than this fraction are the same."""
SAME_STRENGTH = 0.05
"""Field strengths that differ by less than this fraction are the same: a 3 T scanner writes 2.89 or 3."""


def in_order(paths: Sequence[Path], kind: str) -> tuple[tuple[Path, ...], str | None]:
    """Put files, one per echo, into the order of the echoes.

    A shell lists ``ph_1 ph_10 ph_2``: where the names are in alphabetical order and their numbers are consecutive,
    they are put into the order of the numbers.  Echo times in JSON files of the same names count more than names.

    Parameters
    ----------
    paths
        The files as given.
    kind
        ``"magnitude"`` or ``"phase"``, for errors and notes.

    Returns
    -------
    paths
        The files in order.
    note
        What was done; None where nothing was.

    Raises
    ------
    DataError
        If the names say another order than the one given, and it is not that of a shell.
    """
    times = _different_times(paths)
    if times:
        if _increasing(times):
            return tuple(paths), None
        ordered = [path for _, path in sorted(zip(times, paths, strict=True))]
        return tuple(ordered), f"{kind}: files ordered by EchoTime of their JSON files, first {ordered[0].name}"
    numbers = echo_numbers(paths) or counting_numbers(paths)
    if not numbers or _increasing(numbers):
        return tuple(paths), None
    shown = ", ".join(f"{number:g}" for number in numbers)
    if _as_a_shell_lists(paths) and sorted(numbers) == [min(numbers) + n for n in range(len(numbers))]:
        ordered = [path for _, path in sorted(zip(numbers, paths, strict=True))]
        return tuple(ordered), f"{kind}: files given in alphabetical order ({shown}) put into that of their numbers"
    raise DataError(
        f"{kind}: the file names say echoes {shown}; give the files in the order of the echo times (first {paths[0]})"
    )


def says_order(paths: Sequence[Path]) -> bool:
    """Whether JSON files or names of files, one per echo, say which echo each is."""
    return bool(_different_times(paths) or echo_numbers(paths) or counting_numbers(paths))


def _different_times(paths: Sequence[Path]) -> tuple[float, ...]:
    """Echo times of the JSON files beside images; empty unless each has one of its own."""
    times = sidecar_values(paths, "EchoTime")
    return times if len(set(times)) == len(times) else ()


def echo_numbers(paths: Sequence[Path]) -> tuple[int, ...]:
    """Echo numbers that BIDS-like names carry (``echo-2``, ``echo02``, ``_e2``); empty unless every name has one.

    A number that all names share, as ``acq-multiecho3``, tells none of several files from the others.
    """
    found = [[int(number) for number in NAMED_ECHO.findall(path.name)] for path in paths]
    if not found or not all(found):
        return ()
    if len({len(numbers) for numbers in found}) > 1:
        return tuple(numbers[-1] for numbers in found)
    columns = [column for column in zip(*found, strict=True) if len(found) == 1 or len(set(column)) > 1]
    return columns[-1] if columns else ()


def counting_numbers(paths: Sequence[Path]) -> tuple[float, ...]:
    """The numbers in which file names differ, whole or decimal ones; empty unless that is all they differ in.

    Of files of one name in several folders the folders are looked at.
    """
    alike = len({path.name for path in paths}) == 1
    parts = [re.split(r"(\d+)", str(path) if alike else path.name) for path in paths]
    if len({len(part) for part in parts}) != 1:
        return ()
    columns = list(zip(*parts, strict=True))
    differing = [place for place, texts in enumerate(columns) if len(set(texts)) > 1]
    if not differing or differing[0] % 2 == 0:
        return ()
    whole = columns[differing[0]]
    if len(differing) == 1:
        return tuple(map(int, whole))
    # 4.1 and 12.3: a number with a fraction, unless the whole parts repeat and 1.10 may come after 1.9
    joined = differing == [differing[0], differing[0] + 2] and set(columns[differing[0] + 1]) == {"."}
    if not joined or len(set(whole)) < len(whole):
        return ()
    return tuple(float(f"{first}.{second}") for first, second in zip(whole, columns[differing[1]], strict=True))


def sidecar_values(paths: Sequence[Path], name: str) -> tuple[float, ...]:
    """A number from the JSON file beside every image, or the list of them that is beside a single image of all echoes.

    Empty unless each has it.

    Raises
    ------
    DataError
        If a JSON file cannot be read, or has something else there than numbers.
    """
    if len(paths) == 1 and isinstance(several := _sidecar_field(paths[0], name), list):
        return tuple(as_number(paths[0], name, value) for value in several)
    values = [as_number(path, name, value) for path in paths if (value := _sidecar_field(path, name)) is not None]
    return tuple(values) if len(values) == len(paths) else ()


def check_times(paths: Sequence[Path], echo_times_s: Sequence[float]) -> None:
    """Check echo times in s against the JSON files beside the images, where these have them.

    Raises
    ------
    DataError
        Naming the first file whose sidecar says another time.
    """
    stored = sidecar_values(paths, "EchoTime")
    if len(stored) != len(echo_times_s):
        return
    for echo, (given, time) in enumerate(zip(echo_times_s, stored, strict=True)):
        if abs(given - time) > SAME_TIME * time:
            path = paths[min(echo, len(paths) - 1)]
            raise DataError(
                f"{path}: its JSON file says an echo time of {time:g} s, but {given:g} s is given; correct the one "
                "that is wrong (--te, or EchoTime)"
            )


def check_strength(paths: Iterable[Path], b0_tesla: float | None) -> None:
    """Check a field strength in T against the JSON files beside images, as far as these have it; None passes.

    Raises
    ------
    DataError
        Naming the first file whose sidecar says another strength.
    """
    if b0_tesla is None:
        return
    for path in paths:
        for stored in sidecar_values([path], "MagneticFieldStrength"):
            if not same_strength(stored, b0_tesla):
                raise DataError(
                    f"{path}: its JSON file says a field strength of {stored:g} T, but {b0_tesla:g} T is given; "
                    "correct the one that is wrong (--b0, or MagneticFieldStrength)"
                )


def same_strength(first: float, second: float) -> bool:
    """Whether two field strengths are the same but for rounding, or for a nominal value."""
    return abs(first - second) <= SAME_STRENGTH * max(abs(first), abs(second))


def _sidecar_field(path: Path, name: str) -> Any:
    """A field of the JSON file beside an image; None where there is none."""
    sidecar = sidecar_of(path)
    return read_json(sidecar).get(name) if sidecar.is_file() else None


def as_number(path: Path, name: str, value: Any) -> float:
    """Return what the JSON file beside an image says; what is no number must not be passed over in silence.

    Raises
    ------
    DataError
        Naming the JSON file and the field, if it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataError(f"{sidecar_of(path)}: '{name}' is {value!r}; expected a number")
    return float(value)


def _as_a_shell_lists(paths: Sequence[Path]) -> bool:
    """Whether paths are in alphabetical order, by bytes or, as in most locales, without regard to punctuation."""
    names = [str(path) for path in paths]
    plain = [re.sub(r"[^0-9a-z]", "", name.lower()) for name in names]
    return names == sorted(names) or plain == sorted(plain)


def _increasing(values: Sequence[float]) -> bool:
    return all(first < second for first, second in pairwise(values))
