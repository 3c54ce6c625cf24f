"""The commands of this package under one name: ``qsm-recon run …``, ``python -m qsm_recon run …``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from qsm_recon.commands.line import EXIT_DONE, CommandParser, add_version_option, run_as_program
from qsm_recon.errors import did_you_mean
from qsm_recon.version import __version__

COMMANDS = {
    "run": "reconstruct a susceptibility map from a field map or from multi-echo phase",
    "lcurve": "choose the regularisation parameter without the truth, and keep every map on the way",
    "evaluate": "score maps of any software against a truth by the metrics of the 2019 challenge",
    "cohort": "reconstruct a BIDS study by many workers; the same command goes on where it stopped",
    "learn": "train the network of the learned methods on heads of the phantom",
    "phantom": "write the embedded head phantom, with its truth, for any software",
    "doctor": "check this installation by a reconstruction whose answer is known; empty the cache",
}
MODULES = {"cohort": "cohort.command", "phantom": "phantom.__main__"}
"""Where a command is, if not in the module of its name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the first word names and return its exit code; without one, list the commands."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in COMMANDS:
        name, *others = given
        code: int = import_module(f"qsm_recon.{MODULES.get(name, name)}").main(others)
        return code
    parser = CommandParser(prog="qsm-recon", description="Say which commands there are.")
    add_version_option(parser)
    if given and not given[0].startswith("-"):
        parser.error(f"unknown command {given[0]}{did_you_mean(given[0], COMMANDS)}")
    parser.parse_args(given)
    print(f"qsm_recon {__version__}: quantitative susceptibility mapping by dipole inversion\n")
    width = max(map(len, COMMANDS))
    for name, purpose in COMMANDS.items():
        print(f"  python -m qsm_recon.{name:<{width}}  {purpose}")
    print("\nqsm-recon NAME is the same; --help behind a command shows its options.")
    return EXIT_DONE


def program() -> None:
    """Run as the program ``qsm-recon``."""
    run_as_program(main)


if __name__ == "__main__":
    run_as_program(main)
