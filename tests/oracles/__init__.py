"""Deliberately naive float64 implementations, straight from the formulas, to compare the fast code with.

Plain numpy with complex Fourier transforms of the whole volume and one array per symbol of the formula.
"""

import numpy as np


def relative_error(found, expected) -> float:
    """‖found - expected‖ / ‖expected‖."""
    return float(np.linalg.norm(np.asarray(found, np.float64) - expected) / np.linalg.norm(expected))
