"""One solver of every engine, with a fixed number of iterations.

Nothing of ``benchmarks`` is imported here: asv runs these files beside an installed package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ITERATIONS = 20


@dataclass(frozen=True)
class Representative:
    """A solver that stands for its engine, with a fixed number of iterations."""

    engine: str
    parameters: dict[str, Any]


REPRESENTATIVES = {
    "tkd": Representative("closed form", {}),
    "tv": Representative("admm", {"max_iterations": ITERATIONS, "tolerance": 0.0}),
    "rts": Representative("known frequencies", {"max_iterations": ITERATIONS, "tolerance": 0.0}),
    "ndi": Representative("descent", {"max_iterations": ITERATIONS, "update_tolerance": 0.0, "automatic_stop": False}),
    "medi": Representative(
        "Gauss-Newton",
        {"max_iterations": 2, "cg_iterations": ITERATIONS // 2, "cg_tolerance": 0.0, "update_tolerance": 0.0},
    ),
}
