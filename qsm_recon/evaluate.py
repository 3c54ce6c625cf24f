"""``python -m qsm_recon.evaluate``: score maps against a truth."""

from qsm_recon.commands.evaluate import build_parser, main
from qsm_recon.commands.line import run_as_program

__all__ = ["build_parser", "main"]

if __name__ == "__main__":
    run_as_program(main)
