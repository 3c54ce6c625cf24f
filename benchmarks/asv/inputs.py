"""The small problem that is timed: a field of realistic spread in an ellipsoid, one thread."""

from __future__ import annotations

from typing import Any

import numpy as np

EDGE = 48


def small_problem(edge: int = EDGE) -> Any:
    """A problem with field, magnitude and three echoes.

    Parameters
    ----------
    edge
        Of its cube, in voxels.
    """
    from qsm_recon import Grid, Problem
    from qsm_recon.backend.threads import set_thread_count
    from qsm_recon.units import rad_per_ppm

    set_thread_count(1)
    rng = np.random.default_rng(0)
    shape = (edge, edge, edge)
    axes = np.ix_(*(np.linspace(-1.1, 1.1, edge),) * 3)
    mask = np.asarray(sum(a * a for a in axes) < 1)
    field = (0.02 * rng.standard_normal(shape)).astype(np.float32) * mask
    magnitude = rng.uniform(0.3, 1, shape).astype(np.float32) * mask
    times = (0.005, 0.012, 0.02)
    echoes = np.stack([magnitude * np.exp(1j * rad_per_ppm(3.0, time) * field) for time in times], axis=-1)
    return Problem(
        field, mask, Grid(shape), magnitude=magnitude, echoes=echoes.astype(np.complex64), b0_tesla=3.0,
        echo_times_s=times, field_kind="local",
    )  # fmt: skip
