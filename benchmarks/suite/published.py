"""Published figures that tables are set beside.

Those of the challenge are from its report (Bilgic B, Langkammer C, Marques JP, et al. QSM reconstruction challenge 2.0:
design and report of results. Magn Reson Med 2021;86:1241-1255, doi 10.1002/mrm.28754), as this repository's tables have
carried them from the beginning; what these did not hold is not here.  They belong to the challenge's own phantom and to
other implementations.
"""

from __future__ import annotations

from typing import NamedTuple

CITATION = (
    "Bilgic et al., QSM reconstruction challenge 2.0: design and report of results, Magn Reson Med 2021;86:1241-1255, "
    "doi 10.1002/mrm.28754"
)


class Published(NamedTuple):
    """A row of the challenge's table, and the method here that is nearest to it."""

    entry: str
    nrmse: float
    solver: str


STAGES: dict[int, tuple[Published, ...]] = {
    1: (
        Published("mcTFI", 37.7, "mctfi"),
        Published("TFI", 39.8, "tfi"),
        Published("MEDI", 40.5, "medi"),
    ),
    2: (
        Published("FANSI", 28.9, "fansi"),
        Published("wL1L2", 29.2, "wl1l2"),
        Published("L1-QSM", 30.3, "l1qsm"),
        Published("WH", 31.0, "wh-nlqsm"),
        Published("TGV", 36.5, "fansi-tgv"),
    ),
}
"""NRMSE in %, both simulations combined."""
BEST = {1: 30.5, 2: 28.9}
"""Smallest NRMSE (%) of either stage."""
SINGLE = "iLSQR 77.9 (SIM1) and 57.6 (SIM2), untuned MEDI 57.1 and 51.7, at SNR 100 in stage 1"


def published_nrmse(stage: int, solver: str) -> Published | None:
    """The published row of a method; None where there is none."""
    return next((row for row in STAGES.get(stage, ()) if row.solver == solver), None)
