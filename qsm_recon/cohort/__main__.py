"""``python -m qsm_recon.cohort BIDS_DIR OUT_DIR participant``."""

from qsm_recon.cohort.command import main
from qsm_recon.commands.line import run_as_program

if __name__ == "__main__":
    run_as_program(main)
