"""``python -m qsm_recon.run``: reconstruct a susceptibility map."""

from qsm_recon.commands.line import run_as_program
from qsm_recon.commands.run import build_parser, main

__all__ = ["build_parser", "main"]

if __name__ == "__main__":
    run_as_program(main)
