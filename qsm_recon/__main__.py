"""The commands of this package, a line each: ``python -m qsm_recon``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from qsm_recon.command_line import EXIT_BAD_INPUT, EXIT_DONE, CommandParser, add_version_option, run_as_program
from qsm_recon.version import __version__

COMMANDS = {
    "run": "reconstruct a susceptibility map from a field map or from multi-echo phase",
    "lcurve": "choose the regularisation parameter without the truth, and keep every map on the way",
    "evaluate": "score maps of any software against a truth by the metrics of the 2019 challenge",
    "cohort": "reconstruct a BIDS study by many workers; the same command goes on where it stopped",
    "phantom": "write the embedded head phantom, with its truth, for any software",
    "doctor": "check this installation by a reconstruction whose answer is known; empty the cache",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the commands and return the exit code: 0, or 2 where something else was asked for."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in COMMANDS:
        print(f"error: write python -m qsm_recon.{' '.join(given)}", file=sys.stderr)
        return EXIT_BAD_INPUT
    parser = CommandParser(prog="python -m qsm_recon", description="Say which commands there are.")
    add_version_option(parser)
    parser.parse_args(given)
    print(f"qsm_recon {__version__}: quantitative susceptibility mapping by dipole inversion\n")
    width = max(map(len, COMMANDS))
    for name, purpose in COMMANDS.items():
        print(f"  python -m qsm_recon.{name:<{width}}  {purpose}")
    print("\n--help behind a command shows its options.")
    return EXIT_DONE


if __name__ == "__main__":
    run_as_program(main)
