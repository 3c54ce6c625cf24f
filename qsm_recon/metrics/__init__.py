"""Scores of a reconstruction against the truth: the challenge's official eight and voxelwise similarity."""

from qsm_recon.metrics.calcification import (
    calcification_moment,
    calcification_moment_deviation,
    calcification_streaking,
)
from qsm_recon.metrics.evaluation import evaluate
from qsm_recon.metrics.ranking import Standing, rank, top_five_appearances
from qsm_recon.metrics.rc2 import dnrmse, linear_slope_deviation, nrmse
from qsm_recon.metrics.scores import OFFICIAL_METRICS, SIMILARITY_METRICS, Scores, combine_cases
from qsm_recon.metrics.similarity import cc, gxe, hfen, mad, mi, ssim, xsim

__all__ = [
    "OFFICIAL_METRICS",
    "SIMILARITY_METRICS",
    "Scores",
    "Standing",
    "calcification_moment",
    "calcification_moment_deviation",
    "calcification_streaking",
    "cc",
    "combine_cases",
    "dnrmse",
    "evaluate",
    "gxe",
    "hfen",
    "linear_slope_deviation",
    "mad",
    "mi",
    "nrmse",
    "rank",
    "ssim",
    "top_five_appearances",
    "xsim",
]
