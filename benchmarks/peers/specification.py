"""How a program is named on a command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from benchmarks.peers.octave import Octave
from benchmarks.peers.peer import Executable, Ours, Peer
from benchmarks.peers.qsmci import QsmCi
from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.parameters import parse_settings
from qsm_recon.select.choosers import rule
from qsm_recon.solvers.registry import find_solver, make_solver

KINDS = {
    "exec": "exec:COMMAND with {field}, {mask}, {output} and the like",
    "octave": "octave:fansi|medi?path=DIR&NAME=VALUE",
    "qsmci": "qsmci:FOLDER-OR-NAME?runner=docker|podman|apptainer|local&NAME=VALUE",
    "ours": "ours:METHOD?NAME=VALUE",
}
LABELLED = re.compile(rf"(?P<label>[^=:{{}}]+)=(?P<rest>(?:{'|'.join(KINDS)}):.*)", re.DOTALL)


def parse_peer(text: str) -> Peer:
    """Make a program of ``KIND:…`` or ``LABEL=KIND:…``.

    Parameters
    ----------
    text
        See ``KINDS``.

    Raises
    ------
    ParameterError
        If kind, placeholder, toolbox, runner, method, parameter or rule is unknown, or a value is out of its range.
    """
    labelled = LABELLED.fullmatch(text.strip())
    label, rest = (labelled["label"].strip(), labelled["rest"]) if labelled else ("", text.strip())
    kind, colon, location = rest.partition(":")
    if not colon or kind not in KINDS:
        raise ParameterError(
            f"peer '{text}' is unknown{did_you_mean(kind, KINDS)}; expected one of {'; '.join(KINDS.values())}"
        )
    if kind == "exec":
        command = Executable(label, location)
        return command if label else Executable(command.program_name(), location)
    name, _, query = location.partition("?")
    if not name:
        raise ParameterError(f"peer '{text}': expected {KINDS[kind]}")
    options = _options(text, query)
    if kind == "octave":
        return Octave(label or f"{name} (Octave)", name, options.pop("path", ""), options)
    if kind == "qsmci":
        return QsmCi(label or f"{_last(name)} (QSM-CI)", name, options.pop("runner", "docker"), options)
    texts = [f"{key}={value}" for key, value in options.items() if key != "select"]
    make_solver(name, **parse_settings(find_solver(name), texts, "?"))  # refuses what is unknown or out of range
    if "select" in options:
        rule(options["select"])
    return Ours(label or name, name, options)


def _options(text: str, query: str) -> dict[str, str]:
    if not query:
        return {}
    try:
        return dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True))
    except ValueError as error:
        raise ParameterError(f"peer '{text}': expected NAME=VALUE after the question mark ({error})") from error


def _last(place: str) -> str:
    return place.rstrip("/").rpartition("/")[2]


def described(peer: Peer) -> str:
    """Its options in words, for tables."""
    shown: Mapping[str, str] = peer.options
    return ", ".join(f"{name} {value}" for name, value in shown.items()) or "–"
