"""The veins: named deep ones, medullary veins fanning to the ventricles, pial veins in the sulci.

Random branches are walks with inertia that thin along the way; all walkers of a family move together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.phantom.random_fields import SmoothField, generator

Array = NDArray[np.floating]

# (x, y, z, radius), mm; drawn on the right and mirrored where lateral.
MIDLINE_VEINS: list[list[tuple[float, float, float, float]]] = [
    [(0, -35, 13, 1.7), (0, -40, 15, 2.1), (0, -46, 14, 2.2), (0, -58, 8, 2.2), (0, -72, 1, 2.4), (0, -86, -5, 2.6)],
    [(0, 24, 30, 0.6), (0, 8, 33, 0.7), (0, -12, 33, 0.9), (0, -30, 28, 1.1), (0, -45, 17, 1.5)],
    [(0, -52, -12, 0.7), (0, -47, -4, 0.8), (0, -44, 6, 0.9), (0, -44, 12, 1.1)],
]
PAIRED_VEINS: list[list[tuple[float, float, float, float]]] = [
    [(1.8, 1, 12.5, 0.9), (1.8, -8, 14, 1.0), (2.0, -20, 15, 1.1), (2.2, -30, 13.5, 1.2), (0.4, -37, 13.5, 1.6)],
    [
        (1.8, 1, 12.5, 0.8),
        (6, 4, 11, 0.75),
        (11, 0, 13, 0.7),
        (14.5, -8, 16.5, 0.65),
        (18, -20, 17, 0.5),
        (24, -31, 13, 0.35),
    ],
    [(1.8, 1, 12.5, 0.6), (2, 12, 11, 0.55), (5, 22, 9, 0.5), (10, 30, 9, 0.4), (13, 36, 13, 0.3)],
    [
        (9, 2, -17, 0.6),
        (14, -8, -17, 0.8),
        (17, -20, -10, 0.9),
        (14, -31, 1, 1.0),
        (6, -38, 9, 1.2),
        (0.5, -40, 13, 1.5),
    ],
    [(3, -36, 13, 0.8), (12, -40, 14, 0.7), (20, -46, 14, 0.55), (25, -58, 12, 0.4), (25, -68, 12, 0.3)],
    [(8, 0, 15, 0.5), (13, 9, 16, 0.42), (17, 16, 19, 0.35), (22, 22, 24, 0.28)],
    [(14.5, -8, 17, 0.5), (19, -6, 22, 0.42), (24, -6, 28, 0.34), (29, -8, 34, 0.26)],
    [(5, -22, 14, 0.4), (8, -18, 10, 0.4), (10, -14, 6, 0.32), (11, -11, 2, 0.25)],
    [(12, -28, 12, 0.35), (14, -24, 8, 0.32), (13, -20, 4, 0.25)],
]


@dataclass(frozen=True)
class Surroundings:
    """What guides the veins: depth below the brain's envelope, sulcal sheets and the lateral ventricles (mm)."""

    depth: SmoothField
    folds: SmoothField
    ventricles: SmoothField


LARGE_RADIUS_MM = 1.4
"""Veins from this size on carry blood so fast that it is not saturated."""
Guide = Callable[[Array, Array], Array]


def venous_tree(seed: int, surroundings: Surroundings, density: float = 1.0) -> Array:
    """All veins as straight segments.

    Parameters
    ----------
    seed
        Selects the veins.
    surroundings
        What guides them.
    density
        Number of medullary and pial veins over that of the published phantom.  Up to 1 they thin out; above, others
        join those that are there.  The named deep veins are always there.

    Returns
    -------
    ndarray
        (n, 8): start x, y, z, radius and end x, y, z, radius, in mm.
    """
    named = [polyline_segments(nodes) for nodes in MIDLINE_VEINS]
    for nodes in PAIRED_VEINS:
        for side in (1.0, -1.0):
            named.append(polyline_segments([(side * x, y, z, r) for x, y, z, r in nodes]))
    deep = np.concatenate(named)
    families = [wobbled(deep, seed)]
    for number, share in enumerate(_generations(density)):
        families += [medullary_veins(seed, surroundings, share, number), pial_veins(seed, surroundings, share, number)]
    return np.concatenate(families)


def _generations(density: float) -> list[float]:
    """Split a density into whole generations of veins and a part of one."""
    whole, rest = divmod(density, 1.0)
    return [1.0] * int(whole) + ([rest] if rest > 1e-9 else [])


def _stream(seed: int, family: str, generation: int) -> np.random.Generator:
    """Random stream of a family; that of the published phantom is the first."""
    return generator(seed, family if generation == 0 else f"{family} {generation}")


def polyline_segments(nodes: Sequence[tuple[float, float, float, float]], pieces: int = 8) -> Array:
    """Smooth curve through nodes (Catmull-Rom), cut into short segments."""
    table = np.asarray(nodes, dtype=float)
    padded = np.concatenate([2 * table[:1] - table[1:2], table, 2 * table[-1:] - table[-2:-1]])
    t = np.linspace(0, 1, pieces, endpoint=False)[:, None]
    parts = []
    for p0, p1, p2, p3 in zip(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], strict=True):
        parts.append(
            0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * (p1 - p2) + p3 - p0) * t**3)
        )
    curve = np.concatenate([*parts, table[-1:]])
    return np.concatenate([curve[:-1], curve[1:]], axis=1)


def wobbled(segments: Array, seed: int, amplitude_mm: float = 0.9) -> Array:
    """Displace a set of segments by a smooth random field, so that no vein is a ruled curve."""
    rng = generator(seed, "vein wobble")
    waves = rng.normal(size=(24, 3)) / 9.0
    phases = rng.uniform(0, 2 * np.pi, 24)
    amplitudes = rng.normal(size=(24, 3)) * amplitude_mm / np.sqrt(12)
    result = segments.copy()
    for columns in (slice(0, 3), slice(4, 7)):
        result[:, columns] += np.sin(segments[:, columns] @ waves.T + phases) @ amplitudes
    return result


def walk(
    rng: np.random.Generator, start: Array, heading: Array, radius: Array, steps: int, guide: Guide, turn: float
) -> Array:
    """Walk from ``start`` (n, 3) along ``heading``, thinning; ``guide`` corrects position after every step.

    Returns
    -------
    ndarray
        (n * steps, 8) segments.
    """
    step_mm = 1.2
    position, direction = start.copy(), unit(heading)
    segments = []
    for _ in range(steps):
        direction = unit(direction + turn * rng.normal(size=position.shape))
        target = guide(position + step_mm * direction, direction)
        thinner = radius * (1 - 0.55 / steps)
        segments.append(np.concatenate([position, radius[:, None], target, thinner[:, None]], axis=1))
        direction = unit(0.6 * direction + 0.4 * unit(target - position))
        position, radius = target, thinner
    return np.concatenate(segments)


def with_branches(
    rng: np.random.Generator, trunk: Array, count: int, steps: int, guide: Guide, turn: float, spread: float
) -> Array:
    """Let ``count`` thinner branches leave a set of segments at random places."""
    roots = trunk[rng.integers(0, len(trunk), count)]
    heading = unit(roots[:, 4:7] - roots[:, 0:3]) + spread * rng.normal(size=(count, 3))
    branches = walk(rng, roots[:, 4:7], heading, 0.75 * roots[:, 7], steps, guide, turn)
    return np.concatenate([trunk, branches])


def medullary_veins(seed: int, surroundings: Surroundings, share: float = 1.0, generation: int = 0) -> Array:
    """Fine veins through the white matter, at right angles to the wall of the lateral ventricle."""
    rng = _stream(seed, "medullary veins", generation)
    candidates = rng.uniform((-45, -75, 0), (45, 40, 34), size=(20000, 3))
    distance = surroundings.ventricles.at(candidates.T)
    outside = (np.abs(distance - 1.5) < 0.8) & (np.abs(candidates[:, 0]) > 9) & (candidates[:, 2] > 6)
    start = candidates[outside][: max(1, round(170 * share))]
    outward = surroundings.ventricles.gradient_at(start.T).T

    def away(position: Array, direction: Array) -> Array:
        del direction
        return position + 0.25 * surroundings.ventricles.gradient_at(position.T).T

    radius = rng.uniform(0.28, 0.46, len(start))
    trunk = walk(rng, start, outward + 0.15 * rng.normal(size=outward.shape), radius, 15, away, 0.10)
    return with_branches(rng, trunk, round(120 * share), 8, away, 0.10, 0.35)


def pial_veins(seed: int, surroundings: Surroundings, share: float = 1.0, generation: int = 0) -> Array:
    """Veins on the surface of the brain that dip into the sulci."""
    rng = _stream(seed, "pial veins", generation)
    candidates = rng.uniform((-70, -104, -45), (70, 74, 76), size=(60000, 3))
    depth = surroundings.depth.at(candidates.T)
    fold = surroundings.folds.at(candidates.T)
    start = candidates[(np.abs(depth - 4) < 3) & (np.abs(fold) < 1.0)][: max(1, round(270 * share))]
    wanted_depth = rng.uniform(1.2, 11, len(start))

    def follow(wanted: Array) -> Guide:
        def along_sulcus(position: Array, direction: Array) -> Array:
            del direction
            inward = surroundings.depth.gradient_at(position.T).T
            position = position + 0.25 * np.clip(wanted - surroundings.depth.at(position.T), -2, 2)[:, None] * inward
            across = unit(surroundings.folds.gradient_at(position.T).T)
            offset = np.clip(surroundings.folds.at(position.T), -1.0, 1.0)
            return position - 0.7 * offset[:, None] * across

        return along_sulcus

    radius = rng.gamma(4.0, 0.11, len(start)).clip(0.24, 1.0)
    trunk = walk(rng, start, rng.normal(size=start.shape), radius, 30, follow(wanted_depth), 0.16)
    branches = round(320 * share)
    return with_branches(rng, trunk, branches, 14, follow(rng.uniform(1.5, 15, branches)), 0.16, 0.7)


def unit(vectors: Array) -> Array:
    """Scale the rows of an array to unit length."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
