"""Heads by name: sets of options that bring the phantom nearer to real anatomy.

Texture and veins were set on the 2016 challenge's COSMOS map by the measures of ``benchmarks.phantom_realism``, not by
the score of a reconstruction (docs/phantom.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.phantom.lesions import Lesion

TEXTURED: dict[str, Any] = {"texture_ppm": 0.012, "texture_slope": 2.5, "vessel_density": 2.0}
PRESETS: dict[str, dict[str, Any]] = {
    "published": {},
    "textured": TEXTURED,
    "lesions": {
        **TEXTURED,
        "calcifications": (Lesion(-2.6, (20.0, -6.0, 4.0), (3.2, 2.8, 3.0)),),
        "haemorrhages": (Lesion(1.4, (-22.0, 38.0, 8.0), (4.0, 3.4, 3.2)),),
    },
    "invivo": {**TEXTURED, "remnant_ppm": 0.003, "microstructure_ppm": -0.01},
}
"""Name to the parameters it sets."""


def with_preset(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a named head, and over them those that were given.

    Parameters
    ----------
    name
        ``published``, the challenge's; ``textured``, with texture in all tissue and more veins; ``lesions``, that with
        a calcification and a haemorrhage; ``invivo``, textured, with a remnant of the background and frequency shifts
        by microstructure.
    given
        Parameters by name; None stands for not given.

    Raises
    ------
    ParameterError
        If there is no head of that name.
    """
    if name not in PRESETS:
        raise ParameterError(f"phantom anatomy: unknown '{name}'{did_you_mean(name, PRESETS)}")
    return PRESETS[name] | {parameter: value for parameter, value in given.items() if value is not None}
