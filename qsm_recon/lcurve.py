"""``python -m qsm_recon.lcurve``: choose the regularisation parameter without the truth."""

from qsm_recon.commands.lcurve import build_parser, main
from qsm_recon.commands.line import run_as_program

__all__ = ["build_parser", "main"]

if __name__ == "__main__":
    run_as_program(main)
