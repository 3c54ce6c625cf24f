"""The properties of the challenge's phantom that are published, measured on ours."""

from __future__ import annotations

import numpy as np

from qsm_recon.phantom.build import Phantom
from qsm_recon.phantom.tissue import WHITE

PUBLISHED = {
    "sim1": {"truth_norm": 17.4, "white_matter_snr_first_echo": 42.0, "white_matter_snr_last_echo": 16.0},
    "sim2": {"truth_norm": 31.4, "white_matter_snr_first_echo": 42.0, "white_matter_snr_last_echo": 16.0},
}
"""Values for 1 mm voxels and a peak SNR of 100."""
TOLERANCE = 0.10
"""How far ours may lie from them, relative."""


def published_properties(phantom: Phantom) -> dict[str, float]:
    """Measure what the challenge's reports state of their phantom.

    Parameters
    ----------
    phantom
        A phantom with noise.

    Returns
    -------
    dict
        ``truth_norm``: Euclidean norm of the demeaned truth (ppm) over the evaluation mask;
        ``white_matter_snr_first_echo``, ``white_matter_snr_last_echo``: mean magnitude of white matter over the
        standard deviation of the noise, which is measured in a corner of the image, away from the head.
    """
    mask = phantom.evaluation_mask
    inside = phantom.susceptibility_ppm[mask].astype(np.float64)
    corner = phantom.echoes[tuple(slice(n // 8) for n in phantom.mask.shape[:2])][..., 0]
    noise = float(np.concatenate([corner.real.ravel(), corner.imag.ravel()]).std())
    white = mask & (phantom.labels == WHITE.label)
    return {
        "truth_norm": float(np.linalg.norm(inside - inside.mean())),
        "white_matter_snr_first_echo": float(np.abs(phantom.echoes[white, 0]).mean()) / noise,
        "white_matter_snr_last_echo": float(np.abs(phantom.echoes[white, -1]).mean()) / noise,
    }
