"""What a result says of its distance from the limit, against a long run."""

import numpy as np


def assert_distance_is_told(result, limit_ppm, tolerance=0.015):
    """The estimate is within the tolerance, and the map no further from its limit than twice the estimate."""
    told = result.details["map_distance"]
    found = result.susceptibility_ppm[result.mask].astype(float)
    limit = np.asarray(limit_ppm, float)[result.mask]
    true = np.linalg.norm(found - limit) / np.linalg.norm(limit)
    assert told <= tolerance
    assert true <= 2 * told, f"{true:.4f} from the limit, {told:.4f} were told"
