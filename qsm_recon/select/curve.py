"""What a sweep along a parameter gives, as arrays, and the curvature of its L-curve."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import DataError
from qsm_recon.select.risk import estimated_risks

MONOTONE_TOLERANCE = 0.02
"""Relative steps of a cost against its direction that are taken for the accuracy it was computed to."""
PER_POINT = ("noise_cost", "band_means", "influence", "misfit_ratio", "risk")
"""Members of a curve that have a value for each point, if any."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Costs along a regularisation parameter, weakest regularisation first.

    Parameters
    ----------
    parameter
        (n,) positive and increasing values.
    data_cost
        (n,) fidelity of each reconstruction, as its solver minimises it.
    regularisation_cost
        (n,) its regulariser without the weight.
    noise_cost
        (n,) fidelity that the noise alone would have; None where unknown.
    band_means
        (n, 3) mean |F χ| in the bands of :class:`qsm_recon.select.frequency.Bands`; None where not computed.
    influence
        (n,) mean over k-space of filter times kernel, of closed forms; None for other solvers.
    sensitivity
        (m, 2) values between points, increasing, and ‖dχ / d log parameter‖ there in ppm; None where not computed.
    misfit_ratio
        (n,) residual off the magic cone over the errors seen on it, in power; None where unknown.
    risk
        (n,) estimated mean square error of the map in ppm², NaN where it was not estimated; None where it never was.
    noise_measured
        Whether the noise was measured, not estimated from the field itself.

    Raises
    ------
    DataError
        If shapes disagree, the parameter does not increase, or a cost is not positive.
    """

    parameter: NDArray[np.float64]
    data_cost: NDArray[np.float64]
    regularisation_cost: NDArray[np.float64]
    noise_cost: NDArray[np.float64] | None = None
    band_means: NDArray[np.float64] | None = None
    influence: NDArray[np.float64] | None = None
    sensitivity: NDArray[np.float64] | None = None
    misfit_ratio: NDArray[np.float64] | None = None
    risk: NDArray[np.float64] | None = None
    noise_measured: bool = True

    def __post_init__(self) -> None:
        """Check and convert."""
        for name in ("parameter", "data_cost", "regularisation_cost", *PER_POINT):
            values = getattr(self, name)
            if values is not None:
                array = np.asarray(values, dtype=np.float64)
                if array.shape[:1] != np.shape(self.parameter):
                    raise DataError(f"curve: {name} has shape {array.shape} for {len(self.parameter)} points")
                object.__setattr__(self, name, array)
        if np.any(self.parameter <= 0) or np.any(np.diff(self.parameter) <= 0):
            raise DataError("curve: the parameter must be positive and increase from point to point")
        for name in ("data_cost", "regularisation_cost"):
            if not np.all(getattr(self, name) > 0) or not np.all(np.isfinite(getattr(self, name))):
                raise DataError(f"curve: {name} must be positive and finite")

    def __len__(self) -> int:
        return len(self.parameter)

    def violations(self) -> NDArray[np.bool_]:
        """Points where the data cost falls, or the regularisation cost rises, as the regularisation grows."""
        wrong = np.zeros(len(self), dtype=bool)
        wrong[1:] |= np.diff(np.log(self.data_cost)) < -MONOTONE_TOLERANCE
        wrong[1:] |= np.diff(np.log(self.regularisation_cost)) > MONOTONE_TOLERANCE
        return wrong

    def trusted(self) -> Curve:
        """The longest run of points without a violation; the others are no part of an L-curve."""
        cuts = [0, *np.flatnonzero(self.violations()), len(self)]
        runs = [(cuts[i + 1] - cuts[i], cuts[i], cuts[i + 1]) for i in range(len(cuts) - 1)]
        _, start, stop = max(runs)
        return self if stop - start == len(self) else self.part(slice(start, stop))

    def part(self, which: slice) -> Curve:
        """Some of the points."""
        known = {name: getattr(self, name) for name in PER_POINT}
        return Curve(
            self.parameter[which],
            self.data_cost[which],
            self.regularisation_cost[which],
            sensitivity=self.sensitivity,
            noise_measured=self.noise_measured,
            **{name: None if values is None else values[which] for name, values in known.items()},
        )


def curve_of_points(groups: list[list[Any]]) -> Curve:
    """Put points together as a curve.

    Parameters
    ----------
    groups
        For each value of the parameter, weakest first, the points of all data sets: objects with the attributes of
        :class:`qsm_recon.select.path.PathPoint`.  Costs add up, as those of one problem made of all of them.  Values
        whose costs have no logarithm, as those of a map without any structure, are no part of the curve.

    Raises
    ------
    DataError
        If none is left.
    """
    groups = [group for group in groups if _has_logarithms(group)]
    if not groups:
        raise DataError("curve: no point has costs that are positive and finite; sweep other values")

    def total(name: str) -> NDArray | None:
        values = [[getattr(point, name) for point in group] for group in groups]
        return None if any(v is None for row in values for v in row) else np.sum(values, axis=1)

    influence = total("influence")
    return Curve(
        np.array([group[0].value for group in groups]),
        np.sum([[point.data_cost for point in group] for group in groups], axis=1),
        np.sum([[point.regularisation_cost for point in group] for group in groups], axis=1),
        total("noise_cost"),
        np.mean([[point.band_means for point in group] for group in groups], axis=1),
        None if influence is None else influence / len(groups[0]),
        _sensitivity(groups),
        *_spectral(groups),
        all(point.noise_measured for group in groups for point in group),
    )


def _has_logarithms(group: list[Any]) -> bool:
    """Whether both costs of a value, all data sets together, have a place on logarithmic axes."""
    costs = np.array([[point.data_cost, point.regularisation_cost] for point in group], dtype=float)  # None: NaN
    return bool(np.all(np.isfinite(costs)) and np.all(costs.sum(axis=0) > 0))


def _spectral(groups: list[list[Any]]) -> tuple[NDArray | None, NDArray | None]:
    """Misfit ratios (geometric mean over data sets) and estimated risks (mean over them)."""
    misfits = [[point.spectral for point in case] for case in zip(*groups, strict=True)]
    if any(found is None for case in misfits for found in case):
        return None, None
    ratios = None
    if all(found.ratio is not None for case in misfits for found in case):
        ratios = np.exp(np.mean([[np.log(found.ratio) for found in case] for case in misfits], axis=0))
    return ratios, np.mean([estimated_risks(case) for case in misfits], axis=0)


def _sensitivity(groups: list[list[Any]]) -> NDArray | None:
    """Changes from point to point, per unit of the logarithm; squares add up over data sets."""
    known = [group for group in groups if all(point.step is not None for point in group)]
    wide = [group for group in known if len({point.step_from for point in group}) == 1]
    if not wide:
        return None
    steps = np.array([np.log(group[0].step_from / group[0].value) for group in wide])
    norms = np.array([np.sqrt(sum(point.step**2 for point in group)) for group in wide])
    middles = np.array([np.sqrt(group[0].step_from * group[0].value) for group in wide])
    # Between refined points, what the iterations left undone outweighs the change.
    coarse = np.abs(steps) > 0.7 * np.median(np.abs(steps))
    order = np.argsort(middles[coarse])
    return np.stack([middles[coarse], norms[coarse] / np.abs(steps[coarse])], axis=1)[order]


@dataclass(frozen=True, eq=False)
class Curvature:
    """Curvature of the L-curve on a fine grid: (m,) ``parameter``, increasing, and ``value``."""

    parameter: NDArray[np.float64]
    value: NDArray[np.float64]


def curvature(curve: Curve, per_interval: int = 8) -> Curvature:
    """Curvature of log regularisation cost against log data cost, positive at a convex corner.

    With ρ = log data cost, η = log regularisation cost and derivatives by the logarithm of the parameter,
    κ = (ρ' η'' - ρ'' η') / (ρ'² + η'²)^(3/2)  (Hansen and O'Leary, SIAM J Sci Comput 14:1487-1503 (1993),
    doi 10.1137/0914086).  It does not depend on units, on the number of voxels, or on how the curve is parametrised.

    Parameters
    ----------
    curve
        At least five points.
    per_interval
        Fine points per interval between points.

    Returns
    -------
    Curvature
        From derivatives of local quadratic fits, which bear costs known to a per cent or so; the outermost half
        interval at either end, where they would extrapolate, is left out.

    Raises
    ------
    DataError
        If there are fewer than five points.
    """
    if len(curve) < 5:
        raise DataError(f"curvature: {len(curve)} points are too few; sweep five or more")
    t = np.log(curve.parameter)
    rho, eta = np.log(curve.data_cost), np.log(curve.regularisation_cost)
    fine = np.concatenate([np.linspace(a, b, per_interval, endpoint=False) for a, b in pairwise(t)])
    fine = fine[(fine >= 0.5 * (t[0] + t[1])) & (fine <= 0.5 * (t[-2] + t[-1]))]
    rho1, rho2 = _derivatives(t, rho, fine)
    eta1, eta2 = _derivatives(t, eta, fine)
    kappa = (rho1 * eta2 - rho2 * eta1) / (rho1**2 + eta1**2) ** 1.5
    return Curvature(np.exp(fine), kappa)


def _derivatives(t: NDArray, values: NDArray, at: NDArray) -> tuple[NDArray, NDArray]:
    """First and second derivative by quadratic fits with tricube weights; the width follows the spacing there."""
    first, second = np.empty_like(at), np.empty_like(at)
    for i, centre in enumerate(at):
        distance = np.abs(t - centre)
        # The fifth nearest point gets no weight any more, and a width of two coarse intervals is never undercut.
        width = max(np.sort(distance)[min(4, len(t) - 1)], 2.0 * np.median(np.diff(t))) * 1.001
        weight = np.where(distance < width, (1 - (distance / width) ** 3) ** 3, 0.0)
        root = np.sqrt(weight)
        design = np.stack([np.ones_like(t), t - centre, 0.5 * (t - centre) ** 2], axis=1)
        _, first[i], second[i] = np.linalg.lstsq(design * root[:, None], values * root, rcond=None)[0]
    return first, second
