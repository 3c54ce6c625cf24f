"""``python -m qsm_recon.learn``: train the network of the learned methods."""

from qsm_recon.commands.learn import build_parser, main
from qsm_recon.commands.line import run_as_program

__all__ = ["build_parser", "main"]

if __name__ == "__main__":
    run_as_program(main)
