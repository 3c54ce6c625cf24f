"""``python -m qsm_recon.cohort BIDS_DIR OUT_DIR participant``."""

import sys

from qsm_recon.cohort.command import main

if __name__ == "__main__":
    sys.exit(main())
