"""The words of a command line, made again from its options."""

from __future__ import annotations

import argparse
from collections.abc import Iterable


def option_words(options: argparse.Namespace, names: Iterable[str]) -> list[str]:
    """Write options as they would be given on a command line; those that were not given are left out."""
    words: list[str] = []
    for option, name in ((given_options(options, (name,)), name) for name in names):
        value = getattr(options, name)
        if option and isinstance(value, str) and value.startswith("-"):  # which would be taken for an option
            words.append(f"{option[0]}={value}")
            continue
        if option and name == "set":  # one value each
            words += [word for setting in value for word in (option[0], setting)]
            continue
        words += option
        if option and value is not True:
            words += [str(item) for item in value] if isinstance(value, list) else [str(value)]
    return words


def given_options(options: argparse.Namespace, names: tuple[str, ...]) -> list[str]:
    """Options among these that were given, as the user writes them."""
    values = {name: getattr(options, name) for name in names}
    return [
        "--" + name.replace("_", "-")
        for name, value in values.items()
        if not (value is None or value is False or value == [])
    ]
