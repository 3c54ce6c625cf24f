"""Where cases come from: the user's files, the embedded phantom, and the data sets of the field."""

from qsm_recon.datasets.case import Case
from qsm_recon.datasets.files import case_from_files
from qsm_recon.datasets.registry import KINDS, load_case
from qsm_recon.datasets.truth import Truth

__all__ = ["KINDS", "Case", "Truth", "case_from_files", "load_case"]
